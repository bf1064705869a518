"""Two hundred thousand clips: the memory that `featurize` and an epoch take for each, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SMALL, LARGE = 20_000, 200_000
MOST = 400  # bytes a clip: at two million clips 0.8 GB

SCRIPT = """
import os, resource, sys
from pathlib import Path

import numpy as np

SAMPLES, TEST = 640, 1000


def parameters(form):
    from harness.config.params import Audioset, Lists, load

    params = load(Path(sys.argv[3]))
    if form == "lists":
        given = dict(kind="folder", csv=Lists(train="train.json", test="test.json"))
    else:
        given = dict(kind="audioset", audioset=Audioset(**FORMS[form]))
    given |= dict(label_list="audioset", clip_seconds=SAMPLES / 32_000)
    train = params.train.model_copy(update={"batch": 256, "micro_batch": None})
    data = params.data.model_copy(update=given)
    return params.model_copy(update={"preset": "audioset", "train": train, "data": data})


def write_hdf5(path, rows, first):
    import h5py

    random = np.random.default_rng(first)
    sounds = random.integers(-3000, 3000, (1024, SAMPLES), dtype=np.int16)
    with h5py.File(path, "w") as file:
        names = file.create_dataset("audio_name", (rows,), "S20")
        waveforms = file.create_dataset("waveform", (rows, SAMPLES), np.int16)
        targets = file.create_dataset("target", (rows, 527), bool)
        for start in range(0, rows, 1024):
            count = min(1024, rows - start)
            names[start : start + count] = [f"Y{first + start + row:011d}.wav".encode() for row in range(count)]
            waveforms[start : start + count] = sounds[:count]
            labels = np.zeros((count, 527), bool)
            labels[np.arange(count), random.integers(0, 527, count)] = True
            targets[start : start + count] = labels


def make_hdf5(clips):
    write_hdf5("train.h5", clips - TEST, 0)
    write_hdf5("test.h5", TEST, clips)


def make_folders(clips):
    import soundfile

    with open("train.csv", "w") as train, open("test.csv", "w") as test:
        for clip in range(clips):
            part = clip // 20_000  # a disk allows only so many names for one file
            if clip % 20_000 == 0:
                os.makedirs(f"audio/{part}")
                soundfile.write(f"audio/{part}.wav", np.random.default_rng(part).uniform(-0.3, 0.3, SAMPLES), 32_000)
            os.link(f"audio/{part}.wav", f"audio/{part}/Y{clip:011d}.wav")
            print(f'{clip:011d}, 30.000, 40.000, "/m/09x0r,/m/05zppz"', file=test if clip < TEST else train)


def make_lists(clips):
    import json

    make_folders(clips)
    for split, first, last in (("test", 0, TEST), ("train", TEST, clips)):
        files = (f"audio/{clip // 20_000}/Y{clip:011d}.wav" for clip in range(first, last))
        Path(f"{split}.json").write_text(json.dumps({"data": [{"wav": file, "labels": "/m/09x0r"} for file in files]}))


def make_files(form, clips):
    # files of 10,000 clips; the sound is the same in a file
    from tests.data_stage import forms

    encode = forms.encoded
    writers = {"parquet": lambda path, own: forms.write_parquet(path, own, 500), "mp3": forms.write_mp3,
               "tar": lambda path, own: forms.write_tar(path, forms.tar_members(own))}
    for split, first, count in (("test", clips - TEST, TEST), ("train", 0, clips - TEST)):
        os.mkdir(split)
        for start in range(first, first + count, 10_000):
            sound = np.random.default_rng(start).integers(-9000, 9000, SAMPLES, dtype=np.int16)
            content = encode(forms.Made("", (), sound), "MP3" if form == "mp3" else "FLAC")
            forms.encoded = lambda *_: content
            last = min(start + 10_000, first + count)
            own = [forms.Made(f"{clip:011d}", ("/m/09x0r",), sound) for clip in range(start, last)]
            writers[form](Path(split, f"{start:07d}"), own)


def featurize_all(params):
    from harness.data.featurize import featurize
    from harness.data.fetching.fetch import fetch

    fetch(params)
    featurize(params)


def epoch(params):
    import torch

    from harness.data.clips.clips import open_clips
    from harness.audio.front_end import FrontEnd
    from harness.training import batches, reading

    torch.set_num_threads(1)
    front_end = FrontEnd()
    clips = open_clips(params, "train")
    division = batches.divide(params.train, len(clips))
    order = batches.epoch_order(0, 0, len(clips))
    numbers = batches.numbers_of(division, 0, 0)
    for piece in reading.read(clips, order, division.micro_batch, numbers, 0):
        log_mel, targets = batches.prepare(params.train, piece, (0, 0), front_end)
    assert log_mel.shape[0] == 256 and targets.shape == (256, 527) and len(numbers) > 50
    return len(clips)


FORMS = {
    "hdf5": dict(train=("train.h5",), test=("test.h5",)),
    "folders": dict(audio=("audio",), train_segments=("train.csv",), test_segments=("test.csv",)),
    "parquet": dict(train=("train",), test=("test",)),
    "mp3": dict(train=("train",), test=("test",)),
    "tar": dict(train=("train",), test=("test",)),
}

if __name__ == "__main__":
    (stage, form), clips = sys.argv[1].split("_"), int(sys.argv[2])
    if stage == "make":
        special = {"hdf5": make_hdf5, "folders": make_folders, "lists": make_lists}
        special[form](clips) if form in special else make_files(form, clips)
    elif stage == "featurize":
        featurize_all(parameters(form))
    elif stage == "epoch":
        epoch(parameters(form))
    print("kB", *(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
"""


def peak(folder: Path, stage: str, clips: int) -> tuple[int, int]:
    """The most memory, in bytes, that the process which ran the stage held, and that one of its workers held."""
    (folder / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py", stage, str(clips), str(ROOT / "presets" / "instruments.yaml")],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    alone, worker = map(int, done.stdout.split("kB")[-1].split())
    return 1024 * alone, 1024 * worker


@pytest.mark.slow
@pytest.mark.parametrize("source", ["hdf5", "folders", "lists", "parquet", "mp3", "tar"])
def test_memory_grows_by_less_than_400_bytes_a_clip(tmp_path: Path, source: str) -> None:
    peaks: dict[str, list[tuple[int, int]]] = {"featurize": [], "epoch": []}
    for clips in (SMALL, LARGE):
        folder = tmp_path / str(clips)
        folder.mkdir()
        peak(folder, f"make_{source}", clips)
        for stage, found in peaks.items():
            found.append(peak(folder, f"{stage}_{source}", clips))
    for stage, (small, large) in peaks.items():
        alone, worker = ((more - less) / (LARGE - SMALL) for less, more in zip(small, large, strict=True))
        print(f"{source}: {stage} {large[0] / 2**20:.0f} MiB at {LARGE} clips, {alone:.0f} bytes more a clip")
        assert max(alone, worker) < MOST, f"{stage}: {alone:.0f} bytes a clip, {worker:.0f} in a worker"
