"""Whether the input keeps up: clips per second of reading, augmenting and mel on one core, and how long a step waits.

`make bench-input` runs it and writes benchmarks/results/input-*.csv, for HDF5 files as PANNs packs them and for packed
shards. Clips are ten seconds of noise at 32 kHz, read in random order from the page cache: a disk adds its own time.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import soundfile
import torch
from tqdm import tqdm

from harness.audio.front_end import FrontEnd
from harness.base.files import write_csv, write_json
from harness.config.params import Params, load
from harness.data.clips.clips import Clips, open_clips
from harness.data.featurize import featurize
from harness.data.fetching.fetch import fetch
from harness.models.build import full_size
from harness.models.device import device_name
from harness.records.provenance import benchmark_record
from harness.running.processes import single_process
from harness.training import augment, batches, reading
from harness.training.loop import SessionTimes, waiting
from harness.training.run import new_run
from harness.training.step import optimizer_step

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
SECONDS, RATE, BATCH, NAME = 10, 32_000, 8, "fastvit_dcls_audio_sa24"
COLUMNS = ("input", "what", "threads", "workers", "rounds", "median_clips_per_s", "low", "high", "waiting_fraction")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=256, help="clips in the data set (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default: %(default)s)")
    arguments = parser.parse_args()
    world, rows = single_process(), []
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        for kind, params in (("HDF5", with_hdf5(arguments.clips)), ("shards", with_shards(arguments.clips))):
            fetch(params)
            featurize(params)
            clips = open_clips(params, "train")
            torch.set_num_threads(1)
            for what, work in parts(params, clips).items():
                rates = [rate(work) for _ in tqdm(range(arguments.rounds), desc=f"{kind}: {what}")]
                rows.append([kind, what, 1, 0, *summary(rates), ""])
            torch.set_num_threads(threads)
            for size, workers in (("reduced", 0), ("reduced", 1), ("reduced", 2), ("full", 0), ("full", 1)):
                rows.append([kind, f"step, {size} {NAME}", threads, workers, *steps(params, clips, size, workers)])
    stem = f"input-{device_name(world.device).replace(' ', '_')}-torch{torch.__version__.split('+')[0]}"
    write_csv(RESULTS / f"{stem}.csv", COLUMNS, rows)
    parameters = {"clips": arguments.clips, "rounds": arguments.rounds, "seconds": SECONDS, "batch": BATCH}
    record = benchmark_record("make bench-input", parameters, device_name(world.device))
    write_json(RESULTS / f"{stem}.json", record)
    for row in rows:
        print(*row, sep="\t")


def sounds(count: int, seed: int = 0) -> Iterator[np.ndarray]:
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield random.integers(-8000, 8000, SECONDS * RATE, dtype=np.int16)


def with_hdf5(count: int) -> Params:
    for name, rows in (("train.h5", count), ("test.h5", 1)):
        with h5py.File(name, "w") as file:
            file["audio_name"] = np.array([f"Y{name[:2]}{row:09d}.wav".encode() for row in range(rows)])
            file["waveform"] = np.stack(list(sounds(rows, seed=rows)))
            file["target"] = np.eye(527, dtype=bool)[np.arange(rows) % 527]
    params = load(ROOT / "presets" / "audioset.yaml")
    assert params.data.audioset is not None
    files = params.data.audioset.model_copy(update={"train": ("train.h5",), "test": ("test.h5",), "val_fraction": 0.02})
    return params.model_copy(
        update={
            "data": params.data.model_copy(update={"audioset": files}),
            "train": params.train.model_copy(update={"batch": BATCH}),
        }
    )


def with_shards(count: int) -> Params:
    Path("sounds").mkdir()
    rows = ["path,labels,split"]
    for index, sound in enumerate(sounds(count + 2)):
        soundfile.write(f"sounds/{index}.wav", sound, RATE)
        rows.append(f"sounds/{index}.wav,class{index % 5},{('test', 'val')[index] if index < 2 else 'train'}")
    Path("clips.csv").write_text("\n".join(rows) + "\n")
    params = load(ROOT / "presets" / "folder.yaml")
    data = params.data.model_copy(update={"csv": "clips.csv", "label_list": "used", "clip_seconds": float(SECONDS)})
    return params.model_copy(update={"data": data, "train": params.train.model_copy(update={"batch": BATCH})})


def parts(params: Params, clips: Clips) -> dict[str, Callable[[], int]]:
    """What is timed on one core: each gives the number of clips that it has done."""
    train, front_end, order = params.train, FrontEnd(), batches.epoch_order(0, 0, len(clips))
    division = batches.divide(train.model_copy(update={"batch": BATCH, "micro_batch": None}), len(clips))
    numbers = batches.numbers_of(division, 0, 0)[:8]
    raw_batches = list(reading.read(clips, order, BATCH, numbers, 0))
    waveform = raw_batches[0].waveform
    draws = [augment.draw(train, augment.generator(0, 0, index), 513, 1001) for index in raw_batches[0].indices]

    def read() -> int:
        return sum(len(raw.indices) for raw in reading.read(clips, order, BATCH, numbers, 0))

    def change() -> int:
        return len(augment.roll_and_speed(waveform, draws))

    def mel() -> int:
        return len(front_end(waveform))

    def prepare() -> int:
        return sum(len(batches.prepare(train, raw, (0, 0), front_end)[0]) for raw in raw_batches)

    return {"reading": read, "roll and speed": change, "mel": mel, "augmenting and mel": prepare}


def rate(work: Callable[[], int]) -> float:
    """Clips per second over at least half a second."""
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < 0.5:
        done += work()
    return done / (time.perf_counter() - started)


def summary(rates: list[float]) -> list[float | int]:
    low, _, high = statistics.quantiles(rates, n=4) if len(rates) > 1 else (rates[0],) * 3
    return [len(rates), *(round(value, 1) for value in (statistics.median(rates), low, high))]


def steps(params: Params, clips: Clips, size: str, workers: int) -> list[float | int]:
    """Training steps as `train` takes them: clips per second after the second step, and the share spent waiting."""
    system = load(ROOT / "presets" / "instruments.yaml").systems[NAME]
    train = params.train.model_copy(update={"batch": BATCH, "micro_batch": None})
    if size == "full":
        system = system.model_copy(update={"model": full_size(system.model)})
    changed = params.model_copy(update={"train": train, "systems": {NAME: system}})
    run, _ = new_run(changed, NAME, 0, len(clips.labels), single_process())
    run.trainee.model.train()
    division = batches.divide(train, len(clips))
    order, numbers = batches.epoch_order(0, 0, len(clips)), batches.numbers_of(division, 0, 0)
    numbers = numbers[: 12 if size == "reduced" else 7]
    pace, rates = SessionTimes(), []
    raw_batches = waiting(reading.read(clips, order, BATCH, numbers, workers), pace)
    for step in tqdm(range(len(numbers)), desc=f"{size} model, {workers} workers"):
        if step == 2:  # the first steps make what later ones reuse, and start the workers
            pace.waited = 0.0
        started = time.perf_counter()
        optimizer_step(run, raw_batches, division, 0, 1e-4, False)
        if step >= 2:
            rates.append(BATCH / (time.perf_counter() - started))
    return [*summary(rates), round(pace.waited / sum(BATCH / one for one in rates), 4)]


if __name__ == "__main__":
    main()
