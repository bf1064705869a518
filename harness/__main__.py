"""`python -m harness STAGE`: every stage by hand, with or without DVC. A stage's libraries load when it runs."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from harness.base import paths
from harness.base.errors import Stopped, UserError, one_line
from harness.options import predict_options, submit_options, throughput_options
from harness.records.code_closure import STAGES

if TYPE_CHECKING:
    from harness.predicting.predict import Request
    from harness.running.array_task import Allocation

COMPARE = (
    "Parameters, code that stages depend on, data fingerprint, library versions, metrics and throughput are read from "
    "Git's objects: no checkout, no cache. A model's mAP fell by more than its interval where that of REV_B, mean over "
    "the seeds in both, lies below that of REV_A by more than the half width of REV_A's 95% interval over clips. "
    "Other test data, other seeds, or a model in only one commit are named, and do not count. "
    "Exit status: 0, 1 where a metric fell so, 2 for a commit that is not there."
)
REPRO = (
    "Each stage runs as `dvc repro --single-item`, on one thread; one that times something runs alone, on all cores. "
    "Ctrl-C stops all that run: training writes its checkpoint, and the next call goes on from there. Where a stage "
    "fails, those that do not need it still run. What each printed is kept in .cache/repro. Exit status: 0, 1 where a "
    "stage failed, 130 or 143 after Ctrl-C or SIGTERM, 2 where DVC cannot read the pipeline or works on it already."
)

# Commands that are no stage of dvc.yaml: the module and function of each, as in STAGES.
COMMANDS = {
    "replay": ("harness.training.nonfinite", "replay"),
    "submit": ("harness.running.submit", "submit"),
    "import-checkpoint": ("harness.training.published", "import_checkpoint"),
    "show": ("harness.report.show", "show"),
    "verify": ("harness.records.verify", "verify"),
    "predict": ("harness.predicting.predict", "predict"),
    "export": ("harness.exporting.export", "export"),
    "status": ("harness.running.status", "status"),
}


def main() -> int:
    arguments = _parser().parse_args()
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:  # the wrong Python, most likely
        if str(error.name).partition(".")[0] in ("harness", "dcls"):
            raise
        print(
            f"error: {sys.executable}: has no module {error.name}; run `make setup`, then use .venv/bin/python, or put "
            ".venv/bin first on the PATH",
            file=sys.stderr,
        )
        return 2
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return 128 + stopped.signal
    except BrokenPipeError:  # whoever read what was printed, `head` perhaps, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends
        return 128 + 13
    except KeyboardInterrupt:
        print("interrupted: run it again to go on", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace) -> int:
    """Import what the command needs, and call it; the exit status."""
    command = arguments.stage
    if command == "compare":
        from harness.revisions.compare import compare_revisions

        return compare_revisions(arguments.a, arguments.b)
    if command == "repro":
        from harness.running.side_by_side import reproduce

        return reproduce(arguments.jobs)
    if command == "hardware":
        from harness.records.hardware import write_hardware

        write_hardware()
    elif command == "preset":
        from harness.config.presets import switch

        switch(arguments.name)
    elif command in ("tables", "figures", "page"):
        _show_results(arguments)
    else:
        return _run_with_params(command, arguments)
    return 0


def _show_results(arguments: argparse.Namespace) -> None:
    """The tables, the figures or the page, of the parameters' preset or of the folder that was named."""
    if arguments.results is not None:
        from harness.report.selection import selection_in

        chosen: Any = selection_in(arguments.results)
    else:
        from harness.config.params import load

        chosen = load(arguments.params)
    module, function = STAGES[arguments.stage]
    given = (arguments.format,) if arguments.stage == "figures" else ()
    getattr(importlib.import_module(module), function)(chosen, *given)


def _run_with_params(command: str, arguments: argparse.Namespace) -> int:
    """The exit status: what the command's function returns, 0 where that is nothing."""
    from harness.config.params import load

    params = load(arguments.params)
    if command in ("train", "import-checkpoint", "evaluate") and arguments.model not in params.systems:
        known = ", ".join(params.systems)
        raise UserError(f"--model: {arguments.model} is no system of {arguments.params}, which has {known}")
    given: tuple[Any, ...] = ()
    if command in ("train", "evaluate"):
        from harness.running.memory import keep_freed_memory

        keep_freed_memory()
        given = arguments.model, arguments.seed
    elif command == "linear-baseline":
        given = (arguments.seed,)
    elif command == "import-checkpoint":
        given = arguments.source, arguments.model, arguments.seed
    elif command == "replay":
        given = (arguments.dump,)
    elif command == "submit":
        given = arguments.params, _allocation(arguments), arguments.folder, arguments.dry_run
    elif command == "verify":
        given = (arguments.summary,)
    elif command == "predict":
        given = (_request(arguments),)
    elif command == "export":
        given = arguments.run, arguments.to
    elif command == "throughput":
        _quiet_profiler()
        given = (arguments.all,)
    if command == "throughput" and arguments.quick:
        _imported("harness.throughput.quick").quick(params)
        return 0
    module, function = (STAGES | COMMANDS)[command]
    return getattr(_imported(module), function)(params, *given) or 0


def _imported(name: str) -> ModuleType:
    """A stage's module. Imports leave next to no garbage, and looking for it would take a fifth of their time.

    Ctrl-C waits until they are done: met in torch's C++, it would abort the process.
    """
    gc.disable()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()  # nor is it looked for among these modules later
        gc.enable()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _quiet_profiler() -> None:
    """Else it tells of machines without a GPU and of memory older than itself; read when torch is loaded."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def _allocation(arguments: argparse.Namespace) -> Allocation:
    from harness.running.array_task import Allocation

    names = ("nodes", "gpus", "cpus", "hours", "memory", "partition", "account", "at_once")
    return Allocation(**{name: getattr(arguments, name) for name in names})


def _request(arguments: argparse.Namespace) -> Request:
    names = ("run", "weights", "top", "format", "hop", "embeddings", "pictures")
    request: type[Request] = _imported("harness.predicting.predict").Request
    return request(tuple(arguments.recordings), **{name: getattr(arguments, name) for name in names})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness",
        description="Stages of the pipeline that reproduces arXiv 2309.13972, run from the repository root. "
        "`make repro` runs every stage that is out of date.",
        epilog="A stage reads what the stages before it wrote. Bad input stops it with one line and exit status 2.",
    )
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    _add(stages, "link", "link your own files that params.yaml names into data/linked, where DVC watches them")
    _add(stages, "fetch", "get the recordings into data/raw, from the mirror folder, the cache or the network")
    _add(stages, "featurize", "write the manifest and the packed clips into data/packed")
    _add(stages, "train", "train one model with one seed; an interrupted run continues", "model", "seed")
    _add(stages, "replay", "repeat a training step whose loss was not finite, and say where that comes from")
    stages.choices["replay"].add_argument("dump", type=Path, help="the folder that the message named")
    _add(stages, "submit", "train and evaluate the runs still missing, as a Slurm job array (docs/cluster.md)")
    submit_options(stages.choices["submit"])
    _add(stages, "import-checkpoint", "take the authors' trained weights of a model in as a training run", "model")
    taken = stages.choices["import-checkpoint"]
    taken.add_argument("source", nargs="?", metavar="FILE_OR_URL", help="default: Zenodo's record 8370979")
    taken.add_argument("--seed", type=int, default=0, help="seed of the run that it becomes (default: %(default)s)")
    _add(stages, "evaluate", "compute a trained model's predictions and metrics on the test clips", "model", "seed")
    _add(stages, "linear-baseline", "fit logistic regression to log-mel statistics of the same clips", "seed")
    _add(stages, "compare-models", "compare each system with its `compared_with`, by seed and clip, with intervals")
    _add(stages, "examples", "write a few test clips with their predictions, and their sound if its licence allows it")
    _add(stages, "count-parameters", "count the parameters of the full-size models, part by part")
    _add(stages, "throughput", "time the full-size models, each in turn with its baseline")
    throughput_options(stages.choices["throughput"])
    _add(stages, "tables", "write the paper's table beside the reproduced numbers into paper_tables")
    _add(stages, "figures", "draw learning curves, kernel positions, calibration and more into results")
    text = "file type (default: %(default)s); svg and pdf write the figures alone, which Git ignores"
    stages.choices["figures"].add_argument("--format", choices=("png", "svg", "pdf"), default="png", help=text)
    _add(stages, "page", "write the whole report as one HTML file into results")
    text = "show results of this folder, say results/instruments, whatever params.yaml says; no data or training needed"
    for name in ("tables", "figures", "page"):
        stages.choices[name].add_argument("--from", dest="results", type=Path, metavar="FOLDER", help=text)
    _add(stages, "show", "print the results table and where the report is")
    _add(stages, "status", "print how far each run is, and why one failed; exit status 1 if any failed or was lost")
    _add(stages, "verify", "say whether the results here equal the committed ones; exit status 1 if any differs")
    stages.choices["verify"].add_argument("--summary", action="store_true", help="print a single line")
    _add(stages, "predict", "tag recordings with a trained model (docs/predict.md)")
    predict_options(stages.choices["predict"])
    _add(stages, "export", "write a trained run as safetensors, ONNX and a model card, ready to publish")
    stages.choices["export"].add_argument("--run", required=True, metavar="NAME", help="a trained run, MODEL-SEED")
    text = "the folder to write, which must be new or empty"
    stages.choices["export"].add_argument("--to", required=True, type=Path, metavar="FOLDER", help=text)
    stages.add_parser("hardware", help="write runs/hardware.json, which timings depend on")
    text = "say in Markdown what changed between two commits; exit status 1 if a metric fell by more than its interval"
    compare = stages.add_parser("compare", help=text, description=f"{text[0].upper() + text[1:]}.", epilog=COMPARE)
    compare.add_argument("a", metavar="REV_A", help="commit, tag or branch to compare with")
    compare.add_argument("b", metavar="REV_B", help="commit, tag or branch that is compared")
    text = "run every stage that is out of date; stages that do not depend on each other run side by side"
    repro = stages.add_parser("repro", help=text, description=f"{text[0].upper() + text[1:]}.", epilog=REPRO)
    text = "how many stages run at a time (default: one for each GPU, or for each core where there is no GPU)"
    repro.add_argument("--jobs", type=int, metavar="N", help=text)
    preset = stages.add_parser("preset", help="copy presets/NAME.yaml to params.yaml")
    preset.add_argument("name", help="a file in presets/, without .yaml")
    return parser


def _add(stages: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, *options: str) -> None:
    stage = stages.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    stage.add_argument("--params", type=Path, default=paths.PARAMS, help="parameter file (default: %(default)s)")
    if "model" in options:
        stage.add_argument("--model", required=True, metavar="MODEL", help="a name in the parameter file's `systems`")
    if "seed" in options:
        stage.add_argument("--seed", required=True, type=int, help="seed of weights, order and augmentation")


if __name__ == "__main__":
    sys.exit(main())
