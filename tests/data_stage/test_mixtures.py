"""Mixtures are a pure function of (mixture seed, split, index), and what they are labelled with can be heard."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.data.clips import mixtures
from harness.data.clips.clips import MixtureClips, open_clips
from harness.data.clips.shards import RATE
from tests.conftest import ROOT

from .conftest import MakeParams

DIGESTS = """
import hashlib, pathlib, sys
from harness.config.params import load
from harness.data.clips.clips import open_clips
clips = open_clips(load(pathlib.Path(sys.argv[1])), "train", epoch=1)
for index in map(int, sys.argv[2:]):
    print(clips.ids[index], hashlib.sha256(clips.waveform(index).tobytes()).hexdigest())
print([name for name in ("torch", "soundfile", "soxr") if name in sys.modules])
"""


def mixed(make: MakeParams, split: str, epoch: int = 0, **data: object) -> MixtureClips:
    clips = open_clips(make(**data), split, epoch)
    assert isinstance(clips, MixtureClips)
    return clips


def test_same_bytes_in_another_process_and_in_another_order(inside: Path, make: MakeParams) -> None:
    order = [5, 900, 0, 17]
    arguments = [sys.executable, "-c", DIGESTS, str(ROOT / "presets" / "instruments.yaml"), *map(str, order)]
    run = subprocess.run(arguments, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    *lines, imported = run.stdout.splitlines()
    assert imported == "[]", "clips.py must not import torch or decoders"
    clips = mixed(make, "train", epoch=1)
    mine = {clips.ids[index]: hashlib.sha256(clips.waveform(index).tobytes()).hexdigest() for index in sorted(order)}
    assert mine == dict(line.split() for line in lines)


def test_epochs_draw_afresh_and_join_up(inside: Path, make: MakeParams) -> None:
    """Clip 3 of epoch 2 is mixture 2 * 8 + 3, whatever the number of mixtures an epoch has."""
    second = mixed(make, "train", epoch=2, train_mixtures=8)
    long = mixed(make, "train", epoch=0, train_mixtures=64)
    assert second.ids[3] == long.ids[19] == "train-000019"
    np.testing.assert_array_equal(second.waveform(3), long.waveform(19))
    np.testing.assert_array_equal(second.targets, long.targets[16:24])
    assert not np.array_equal(long.waveform(3), long.waveform(19))


def test_val_and_test_do_not_change_with_the_epoch(inside: Path, make: MakeParams) -> None:
    for split in ("val", "test"):
        first, later = mixed(make, split, 0), mixed(make, split, 7)
        assert first.ids == later.ids and first.ids[0] == f"{split}-000000"
        np.testing.assert_array_equal(first.waveform(11), later.waveform(11))


def test_seed_and_split_change_the_mixture(inside: Path, make: MakeParams) -> None:
    base = mixed(make, "test")
    assert not np.array_equal(base.targets, mixed(make, "test", mixture_seed=1).targets)
    assert not np.array_equal(base.targets[:200], mixed(make, "val").targets[:200])


def test_prevalence_and_classes_a_clip(inside: Path, make: MakeParams) -> None:
    targets = mixed(make, "train", train_mixtures=8000).targets
    assert targets.dtype == np.float32 and set(np.unique(targets)) == {0.0, 1.0}
    assert abs(targets.mean() - 0.0655) < 0.003
    counts = np.bincount(targets.sum(axis=1).astype(int), minlength=5)[1:] / len(targets)
    np.testing.assert_allclose(counts, mixtures.COUNT_WEIGHTS, atol=0.02)
    assert targets.mean(axis=0).min() > 0.055 and targets.mean(axis=0).max() < 0.076


def test_waveforms_are_whole_finite_and_unclipped(inside: Path, make: MakeParams) -> None:
    clips = mixed(make, "train")
    for index in range(0, len(clips), 16):
        waveform = clips.waveform(index)
        assert waveform.shape == (40_960,) and waveform.dtype == np.float32
        assert np.isfinite(waveform).all() and 0.005 < np.abs(waveform).max() <= 0.99001


def test_every_labelled_class_is_heard(inside: Path, make: MakeParams) -> None:
    """Each part alone puts energy into the clip: 0.75 s of it or all of it, at no less than half its gain range."""
    clips = mixed(make, "test")
    for index in range(0, len(clips), 4):
        for part in clips._plan(index):
            alone = mixtures.render([part], clips._recordings, clips.source.samples)
            length = clips._lengths[part.column][part.recording]
            assert part.onset + min(length, int(0.75 * RATE)) <= clips.source.samples
            assert 0.5 < part.gain <= 1.0
            assert np.abs(alone).max() > 0.02, clips.ids[index]


def test_a_clip_shorter_than_its_sounds_is_filled(inside: Path, make: MakeParams) -> None:
    clips = mixed(make, "test", clip_seconds=0.2, test_mixtures=64)
    for index in range(64):
        assert clips.waveform(index).shape == (6_400,)
        assert np.abs(clips.waveform(index)).max() > 0


def test_parts_begin_and_end_without_a_click() -> None:
    sounds = [[np.full(40_000, 16_384, np.int16)]]
    waveform = mixtures.render([mixtures.Part(0, 0, 10_000, 1.0)], sounds, 80_000)
    assert np.abs(np.diff(waveform)).max() < 0.5 / mixtures.FADE * 1.1
    assert waveform[30_000] == pytest.approx(0.5)
    loud = mixtures.render([mixtures.Part(0, 0, 0, 1.0)] * 4, sounds, 80_000)
    assert np.abs(loud).max() == pytest.approx(0.99)


def test_a_mixture_takes_under_a_millisecond(inside: Path, make: MakeParams) -> None:
    clips = mixed(make, "train")
    clips.waveform(0)
    times = []
    for index in np.random.default_rng(0).permutation(len(clips))[:400]:
        start = time.process_time()
        clips.waveform(int(index))
        times.append(time.process_time() - start)
    assert np.median(times) < 1e-3


def test_an_index_outside_is_refused(inside: Path, make: MakeParams) -> None:
    with pytest.raises(IndexError):
        mixed(make, "val").waveform(256)


def test_a_mixture_names_its_recordings(inside: Path, make: MakeParams) -> None:
    """Each is of one of its classes, and mixed again they give its waveform."""
    clips = mixed(make, "test", test_mixtures=40)
    labels = {row.id: row.labels for row in clips.source.rows}
    for index in range(40):
        recordings = clips.recordings(index)
        columns = [clips.source.mids.index(labels[recording]) for recording in recordings]
        assert sorted(columns) == np.flatnonzero(clips.targets[index]).tolist()
        by_id = dict(zip(clips.source.ids, map(clips.source.packed, range(len(clips.source))), strict=True))
        parts = [dataclasses.replace(part, recording=0) for part in clips._plan(index)]
        sounds: list[list[np.ndarray]] = [[] for _ in clips.labels]
        for column, recording in zip(columns, recordings, strict=True):
            sounds[column] = [by_id[recording]]
        np.testing.assert_array_equal(mixtures.render(parts, sounds, clips.source.samples), clips.waveform(index))
