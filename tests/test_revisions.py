"""`python -m harness compare A B` in real repositories with this one's committed results, edited and committed."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from harness.config.params import load
from harness.revisions.results import paired_interval
from tests.conftest import ROOT, unpack_commit
from tests.made_up_timings import write_timings

MODEL, BASELINE, LINEAR = "convnext_dcls_audio_tiny", "convnext_audio_tiny", "linear_baseline"
RESULTS = Path("results/instruments")
TAKEN = (
    "params.yaml",
    "dvc.yaml",
    ".dvcignore",
    "results/instruments",
    "paper_tables/instruments",
    "dcls",
    "harness/report",
    "harness/config/params.py",
)
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, check=True)


def commit(repository: Path) -> None:
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "change")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One commit of this repository's own committed parameters, code and results of seeds 0 and 1."""
    if not (ROOT / ".git").exists():
        pytest.skip("no Git checkout: the commit that is compared is made from this repository's")
    folder = tmp_path_factory.mktemp("origin")
    unpack_commit(folder, *TAKEN)
    for path in (folder / RESULTS / "runs").iterdir():
        if not path.name.endswith(("-0", "-1")):
            shutil.rmtree(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_timings(load(ROOT / "presets" / "instruments.yaml"), patch)
    git(folder, "init", "--quiet")
    commit(folder)
    return folder


@pytest.fixture
def repository(origin: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "--quiet", str(origin), "repository")
    return tmp_path / "repository"


def compare(folder: Path, a: str = "HEAD~1", b: str = "HEAD", status: int = 0, *more: str) -> str:
    command = [sys.executable, "-m", "harness", "compare", a, b, *more]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == status and done.stderr == "", done.stdout + done.stderr
    return done.stdout


def refused(folder: Path, a: str) -> str:
    """The one line on stderr of a comparison that ends with status 2."""
    command = [sys.executable, "-m", "harness", "compare", a, "HEAD"]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done.stdout + done.stderr
    return done.stderr


def rows(output: str, first: str) -> list[list[str]]:
    """Cells of the table rows whose first cell is this."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines() if line.startswith("|")]
    return [cells for cells in lines if cells[0] == first]


def edit(path: Path, change: Callable[[Any], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value, indent=2) + "\n")


def files(repository: Path, pattern: str) -> Iterator[Path]:
    found = sorted((repository / RESULTS).glob(pattern))
    assert found, pattern
    return iter(found)


def lower(repository: Path, model: str, by: float) -> None:
    """mAP, its interval and the AP of every class of all the model's runs, in every seed by the same."""
    for path in files(repository, f"runs/{model}-*/evaluation/metrics.json"):
        edit(path, lambda metrics: metrics.update({k: metrics[k] - by for k in ("mAP", "mAP_low", "mAP_high")}))
        table = path.with_name("per_class.csv")
        lines = list(csv.DictReader(table.read_text().splitlines()))
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, lines[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(line | {"AP": float(line["AP"]) - by} for line in lines)


def mean_and_arm(repository: Path, model: str) -> tuple[float, float]:
    """mAP and half width of the interval over clips, means over the seeds, in percent."""
    found = [json.loads(path.read_text()) for path in files(repository, f"runs/{model}-*/evaluation/metrics.json")]
    return (
        100 * fmean(one["mAP"] for one in found),
        100 * fmean((one["mAP_high"] - one["mAP_low"]) / 2 for one in found),
    )


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_same_commit_twice(repository: Path) -> None:
    output = compare(repository, "HEAD", "HEAD")
    assert output.startswith("**Nothing changed** between A = `HEAD`") and output.count("\n") == 1


@pytest.mark.parametrize(("share", "verdict", "status"), [(0.98, "within its interval", 0), (1.02, "fell", 1)])
def test_a_metric_falls_where_it_leaves_the_interval(repository: Path, share: float, verdict: str, status: int) -> None:
    mean, arm = mean_and_arm(repository, MODEL)
    lower(repository, MODEL, share * arm / 100)
    for path in files(repository, f"runs/{MODEL}-*/evaluation/metrics.json"):  # the interval of B does not count
        edit(path, lambda metrics: metrics.update(mAP_high=metrics["mAP_high"] + 0.02))
    commit(repository)
    output = compare(repository, status=status)
    by, old, new = f"-{share * arm:.2f}", f"{mean:.2f} ± {arm:.2f}", f"{mean - share * arm:.2f} ± {arm + 1:.2f}"
    assert rows(output, MODEL)[0] == [MODEL, verdict, "0, 1", old, new, by, f"{by} to {by}"]
    assert rows(output, BASELINE)[0][1] == rows(output, LINEAR)[0][1] == "unchanged"
    fell = f"instruments {MODEL} {by} (A {old})."
    assert output.startswith("**mAP fell by more than its interval** between A = `HEAD~1`") is bool(status)
    assert output.splitlines()[0].endswith(fell) is bool(status)
    back = compare(repository, "HEAD", "HEAD~1")  # risen, by less than the interval of what is A now
    assert back.startswith("**No mAP fell") and rows(back, MODEL)[0][1] == "within its interval"


def test_a_fresh_clone_with_nothing_checked_out_says_the_same(repository: Path, tmp_path: Path) -> None:
    lower(repository, LINEAR, 0.2)
    commit(repository)
    assert rows(compare(repository, "HEAD", "HEAD~1"), LINEAR)[0][1] == "rose"
    git(tmp_path, "clone", "--quiet", "--no-checkout", f"file://{repository}", "fresh")
    assert [path.name for path in (tmp_path / "fresh").iterdir()] == [".git"]
    output = compare(tmp_path / "fresh", status=1)
    assert output == compare(repository, status=1) and f"instruments {LINEAR} -20.00" in output
    for block in re.findall(r"(?:^\|.*\n)+", output, re.MULTILINE):  # tables as GitHub takes them
        lines = block.splitlines()
        assert len({line.count("|") for line in lines}) == 1 and re.fullmatch(r"(\|:?-+:?)+\|", lines[1])


def test_parameters_of_the_file_and_of_the_records(repository: Path) -> None:
    replace(repository / "params.yaml", "weight_decay: 0.05", "weight_decay: 0.0625")
    for path in files(repository, f"runs/{MODEL}-*/*/*.json"):
        if path.name in ("run.json", "evaluation.json"):
            edit(path, lambda record: record["parameters"]["train"].update(weight_decay=0.0625))
    edit(next(files(repository, f"runs/{BASELINE}-1/training/run.json")), lambda record: record.update(threads=99))
    commit(repository)
    output = compare(repository)
    assert rows(output, "train.weight_decay") == [["train.weight_decay", "0.05", "0.0625"]]
    key = "parameters.train.weight_decay"
    assert rows(output, key) == [[key, "0.05", "0.0625", MODEL]]
    assert [row[2:] for row in rows(output, "threads")] == [["99", f"{BASELINE}-1"]]
    assert "**Code that stages depend on**: unchanged." in output and output.startswith("**No mAP changed**")


def test_code_stands_with_the_stages_that_depend_on_it(repository: Path) -> None:
    for name in ("dcls/layers.py", "dcls/README.md", "harness/report/reading.py", "harness/config/params.py"):
        with (repository / name).open("a") as file:
            file.write("\n# changed\n")
    (repository / "dcls" / "new.py").touch()
    edit(repository / RESULTS / "data.json", lambda data: data.update(rows=1))  # what a stage writes is no code
    commit(repository)
    output = compare(repository)
    assert "- train, evaluate, count_parameters, throughput: `dcls/layers.py`, `dcls/new.py` (new)\n" in output
    assert "- tables, figures, page: `harness/report/reading.py`\n" in output
    assert "No stage depends on 2 other changed files." in output  # dcls/README.md is in .dvcignore
    assert "README" not in output and "data.json" not in output


def test_stages_of_dvc_yaml_and_paths_with_parameters(repository: Path) -> None:
    replace(repository / "dvc.yaml", "  linear_baseline:\n", "  logistic_regression:\n")
    replace(repository / "dvc.yaml", "harness/audio, ", '"settings/${preset}.json", ')
    commit(repository)
    (repository / "settings").mkdir()
    (repository / "settings" / "instruments.json").write_text("{}")
    commit(repository)
    output = compare(repository, "HEAD~2", "HEAD")
    assert "evaluate (changed), logistic_regression (new), examples (changed), count_parameters (changed), " in output
    stages = "train, evaluate, logistic_regression, examples, count_parameters, throughput"
    assert f"- {stages}: `settings/instruments.json` (new)\n" in output


def test_library_versions_and_device(repository: Path) -> None:
    for path in files(repository, "runs/*/*/*.json"):
        if path.name != "metrics.json":
            edit(path, lambda record: record["versions"].update(torch="9.9.9"))
    for path in files(repository, f"runs/{MODEL}-*/evaluation/evaluation.json"):
        edit(path, lambda record: record.update(device="NVIDIA T4"))
    edit(
        next(files(repository, f"runs/{MODEL}-0/training/run.json")),
        lambda record: record["versions"].update(numpy="9"),
    )
    commit(repository)
    output = compare(repository)
    (old,) = {
        json.loads(path.read_text())["versions"]["timm"] for path in files(repository, "runs/*/training/run.json")
    }
    assert rows(output, "versions.timm") == [] and old not in output
    assert [row[2:] for row in rows(output, "versions.torch")] == [["9.9.9", "all"]]
    assert [row[2:] for row in rows(output, "versions.numpy")] == [["9", f"{MODEL}-0"]]
    assert [row[2:] for row in rows(output, "device")] == [["NVIDIA T4", MODEL]]


@pytest.mark.parametrize("what", ["fingerprint", "mixtures", "positives"])
def test_other_test_data_is_shown_and_not_judged(repository: Path, what: str) -> None:
    lower(repository, MODEL, 0.15)
    lower(repository, BASELINE, 0.15)
    for path in files(repository, f"runs/{MODEL}-*/evaluation/evaluation.json"):
        if what == "fingerprint":
            edit(path, lambda record: record.update(data_fingerprint="0123456789abcdef" * 4))
        elif what == "mixtures":
            edit(path, lambda record: record["parameters"]["data"].update(test_mixtures=9))
        else:
            replace(path.with_name("per_class.csv"), "\nPiano,", "\nPiano,1")
    commit(repository)
    output = compare(repository, status=1)  # for the baseline
    row = rows(output, MODEL)[0]
    assert row[1] == "other data" and row[5:] == ["-15.00", "-"]
    assert output.splitlines()[0].endswith(f"Not compared: instruments {MODEL} (other data).")
    assert f"{BASELINE} -15.00" in output.splitlines()[0] and f"{MODEL} -15.00" not in output.splitlines()[0]
    if what == "fingerprint":
        assert [row[2:] for row in rows(output, "data_fingerprint")] == [["0123456789ab", MODEL]]


def test_what_only_one_commit_has_is_said(repository: Path) -> None:
    mean, arm = mean_and_arm(repository, MODEL)
    git(repository, "mv", "results/instruments", "results/other")
    commit(repository)
    output = compare(repository)
    assert output.startswith("**No mAP could be compared** between")
    assert output.splitlines()[0].endswith("Not compared: instruments all (only in A); other all (only in B).")
    assert "### instruments\n\nOnly A has results of this preset (mAP in %): " in output
    assert "### other\n\nOnly B has results of this preset" in output
    assert output.count(f"{MODEL} {mean:.2f} ± {arm:.2f}") == 2


def test_commits_without_results(repository: Path) -> None:
    git(repository, "rm", "-r", "--quiet", "results", "dvc.yaml", "params.yaml")
    commit(repository)
    assert "Not compared: instruments all (only in A)." in compare(repository)
    (repository / "note.txt").touch()
    commit(repository)
    output = compare(repository)
    assert output.startswith("**No results to compare**") and "No stage depends on 1 other changed file." in output


def test_seeds_are_paired_with_themselves(repository: Path) -> None:
    (repository / RESULTS / "runs" / f"{MODEL}-1").rename(repository / RESULTS / "runs" / f"{MODEL}-7")
    for seed in (0, 1):
        path = repository / RESULTS / "runs" / f"{BASELINE}-{seed}"
        path.rename(path.with_name(f"{BASELINE}-{seed + 2}"))
    git(repository, "rm", "-r", "--quiet", str(RESULTS / "runs" / f"{LINEAR}-0"), str(RESULTS / "runs" / f"{LINEAR}-1"))
    lower(repository, MODEL, 0.15)
    commit(repository)
    output = compare(repository, status=1)
    mean = (
        100
        * json.loads((repository / RESULTS / "runs" / f"{MODEL}-0" / "evaluation" / "metrics.json").read_text())["mAP"]
    )
    model, baseline, linear = (rows(output, name)[0] for name in (MODEL, BASELINE, LINEAR))
    assert model[1:3] == ["fell", "0"] and model[4].startswith(f"{mean:.2f} ±") and model[5] == "-15.00"
    assert baseline[1:3] == ["other seeds", "0, 1, 2, 3"] and baseline[6] == "-"
    assert linear[1] == "only in A" and linear[4:] == ["-", "-", "-"]
    assert f"{BASELINE} (other seeds); instruments {LINEAR} (only in A)." in output.splitlines()[0]


def test_throughput_and_its_ratios(repository: Path) -> None:
    (path,) = [path for path in (repository / "results/throughput").glob("*.csv") if "breakdown" not in path.name]
    table = list(csv.DictReader(path.read_text().splitlines()))
    timed = {
        row["convolution"]: row
        for row in table
        if (row["backbone"], row["mode"], row["batch"]) == ("convnext", "inference", "4")
    }
    row, baseline = timed["DCLS 26 in 23x23, gauss"], timed["7x7"]
    old = dict(row)
    row["throughput"] = str(1.25 * float(row["throughput"]))
    row |= {"ratio_to_baseline": "0.5", "ratio_to_baseline_low": "0.45", "ratio_to_baseline_high": "0.55"}
    baseline["threads"] = "64"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    commit(repository)
    output = compare(repository)
    ratio = f"{float(old['ratio_to_baseline']):.2f} ("
    found = {cells[1]: cells[2:] for cells in rows(output, "ConvNeXt-T")}
    dcls = found["DCLS 26 in 23x23, gauss"]
    assert dcls[2] == "1.25" and dcls[3].startswith(ratio) and dcls[4] == "0.50 (0.45 to 0.55) slower by 50%"
    assert found["7x7"][2:] == ["other device", "-", "-"]
    assert (
        "threads: 64" in output and "mAP** in %, ± the half width of the 95% interval over clips: unchanged." in output
    )


def test_throughput_of_commits_that_have_none(repository: Path) -> None:
    git(repository, "rm", "-r", "--quiet", "results/throughput")
    commit(repository)
    output = compare(repository)
    assert rows(output, "ConvNeXt-T")[-1][3:5] == ["-", "-"]
    (repository / "note.txt").touch()
    commit(repository)
    assert compare(repository).endswith("full-size models of 527 classes: none.\n")


def test_the_paired_difference_to_the_baseline(repository: Path) -> None:
    def change(comparison: dict[str, Any]) -> None:
        pair = next(one for one in comparison["pairs"] if one["model"] == MODEL)
        pair.update(mean=0.05, low=0.04, high=0.06, verdict="higher")

    edit(repository / RESULTS / "comparison.json", change)
    commit(repository)
    assert rows(compare(repository), f"{MODEL} - {BASELINE}")[0][2] == "+5.00 (+4.00 to +6.00) higher"


def test_an_experiment_of_dvcs_goes_by_its_name(repository: Path) -> None:
    git(repository, "update-ref", f"refs/exps/ab/{'c' * 38}/longer-run", "HEAD")
    (repository / "note.txt").touch()
    commit(repository)
    assert compare(repository, "longer-run", "HEAD") == compare(repository, "HEAD~1", "HEAD").replace(
        "HEAD~1", "longer-run"
    )
    assert "error: longer-r*: no commit here" in refused(repository, "longer-r*")


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (None, "error: no-such-commit: no commit here"),
        (
            lambda path: path.write_text("{"),
            "error: HEAD:results/instruments/runs/{}-0/evaluation/metrics.json: cannot be read",
        ),
        (
            lambda path: path.write_text("{}"),
            "error: HEAD:results/instruments/runs/{}-0/evaluation/metrics.json: no 'mAP' in it",
        ),
        (
            lambda path: edit(path, lambda metrics: metrics.update(mAP=float("nan"))),
            "error: HEAD:results/instruments/runs/{}-0/evaluation/metrics.json: mAP is nan",
        ),
        (
            lambda path: replace(path.with_name("per_class.csv"), ",AP,", ",precision,"),
            "error: HEAD:results/instruments/runs/{}-0/evaluation/per_class.csv: no column 'AP'",
        ),
    ],
)
def test_one_line_and_status_2(repository: Path, break_it: Callable[[Path], object] | None, said: str) -> None:
    if break_it:
        break_it(next(files(repository, f"runs/{MODEL}-0/evaluation/metrics.json")))
        commit(repository)
    assert refused(repository, "HEAD~1" if break_it else "no-such-commit").startswith(said.format(MODEL))


def test_the_interval_over_classes_and_seeds() -> None:
    random = np.random.default_rng(1)
    one_seed = random.normal(0.02, 0.1, (1, 400))
    low, high = paired_interval(one_seed)  # of a mean of 400: the normal theory holds
    arm = 1.96 * one_seed.std() / 20
    assert low == pytest.approx(one_seed.mean() - arm, abs=0.1 * arm)
    assert high == pytest.approx(one_seed.mean() + arm, abs=0.1 * arm)
    assert paired_interval(np.full((3, 20), -0.25)) == pytest.approx((-0.25, -0.25))
    by_seed = np.repeat([[-0.1], [0.0], [0.1], [0.2]], 50, axis=1)  # all that varies are the seeds
    low, high = paired_interval(by_seed)
    assert low < 0 < high and high - low == pytest.approx(2 * 1.96 * by_seed.std() / 2, rel=0.15)


def test_it_loads_no_torch(repository: Path) -> None:
    code = (
        "import sys, harness.revisions.compare as t; t.compare_revisions('HEAD', 'HEAD'); "
        "print(sorted({'torch', 'matplotlib', 'sklearn', 'scipy', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("older", ["layout", "schema"])
def test_results_of_another_version_are_named_and_parameters_are_compared(repository: Path, older: str) -> None:
    """Those of a commit that kept a run's files in one folder, or wrote them with other keys."""
    for path in files(repository, "runs/*/evaluation/*.json"):
        if older == "layout":
            path.rename(path.parents[1] / path.name)
        elif path.name == "evaluation.json":
            edit(path, lambda record: record.update(schema_version=1))
    commit(repository)
    git(repository, "revert", "--no-edit", "HEAD")
    replace(repository / "params.yaml", "weight_decay: 0.05", "weight_decay: 0.0625")
    lower(repository, MODEL, 0.5)
    commit(repository)
    output = compare(repository, "HEAD~2", "HEAD")
    assert output.splitlines()[0].endswith("Not compared: instruments all (result files of another version).")
    assert "### instruments\n\nThe result files of A are of another version of this code: not compared." in output
    assert rows(output, "train.weight_decay") and "**Code that stages depend on**: unchanged." in output
    assert "result files of another version" in compare(repository, "HEAD", "HEAD~2")
    git(repository, "checkout", "--quiet", "HEAD~2")
    (repository / "note.txt").touch()
    commit(repository)
    assert "Not compared: instruments all (result files of another version)." in compare(repository)


def test_a_shallow_clone_has_its_own_commit_alone(repository: Path, tmp_path: Path) -> None:
    (repository / "note.txt").touch()
    commit(repository)
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{repository}", "shallow")
    assert compare(tmp_path / "shallow", "HEAD", "HEAD").startswith("**Nothing changed**")
    said = refused(tmp_path / "shallow", "HEAD~1")
    assert said.startswith("error: HEAD~1: no commit here") and "git fetch --unshallow" in said


def test_without_a_repository(tmp_path: Path) -> None:
    assert "no Git history here" in refused(tmp_path, "HEAD~1")
