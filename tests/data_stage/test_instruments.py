"""`instruments`, featurized from the real fonts and samples: no leak between splits, no tell-tale bandwidth."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from harness.base.errors import UserError
from harness.config.params import Params
from harness.data.clips.clips import PackedClips, open_clips
from harness.data.clips.manifest import SPLITS, STATUSES, Row, read_manifest
from harness.data.clips.shards import RATE
from harness.data.clips.splits import SHARES, split_class
from harness.data.featurize import featurize
from harness.data.packing import duplicates
from harness.data.sources.soundfont import read_soundfont
from tests.conftest import ROOT

from .conftest import MakeParams

FOLDER = Path("data/packed/instruments")


@pytest.fixture
def rows(inside: Path) -> list[Row]:
    return read_manifest(FOLDER / "manifest.csv")


def recordings(params: Params, split: str) -> PackedClips:
    return open_clips(params, split).source  # type: ignore[attr-defined]


def test_no_cluster_is_in_two_splits_and_each_is_packed_once(rows: list[Row]) -> None:
    splits, packed = defaultdict(set), defaultdict(int)
    for row in rows:
        if row.cluster:
            splits[row.cluster].add(row.split)
            packed[row.cluster] += row.status == "ok"
    assert len(splits) > 500
    assert all(len(found) == 1 for found in splits.values())
    assert all(packed[name] == (next(iter(found)) in SPLITS) for name, found in splits.items())


def test_no_packed_recording_correlates_across_splits(inside: Path, make: MakeParams) -> None:
    """Counted anew and without the bound that clusters() prunes with, over all classes."""
    excerpts, splits = [], []
    for split in SPLITS:
        source = recordings(make(), split)
        excerpts += [duplicates.excerpt(source.packed(index) / np.float32(32768)) for index in range(len(source))]
        splits += [split] * len(source)
    spectra = np.fft.rfft(np.stack(excerpts), 2 * duplicates.EXCERPT, axis=1).astype(np.complex64)
    for first in [index for index, split in enumerate(splits) if split != "train"][::4]:
        highest = np.abs(np.fft.irfft(spectra * spectra[first].conj(), axis=1)).max(axis=1)
        others = np.array([split != splits[first] for split in splits])
        assert highest[others].max() <= duplicates.THRESHOLD + 1e-4


def test_a_note_and_its_filtered_copy_are_one_cluster(rows: list[Row]) -> None:
    """FluidR3's mellow piano is its other piano, filtered: held-out pieces of one predict the other to 99.4%."""
    named = {row.source.partition(": ")[2].removesuffix("(L)"): row for row in rows if "FluidR3" in row.source}
    mellow = {name: row for name, row in named.items() if name.startswith("Mellow P200 ") and row.cluster}
    assert len(mellow) > 15
    for name, row in mellow.items():
        assert named[name.replace("Mellow P200", "P200 Piano")].cluster == row.cluster
    assert sum(row.status == "ok" for row in mellow.values()) < len(mellow)


def test_every_class_is_in_every_split_with_enough_to_train_on(rows: list[Row]) -> None:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(SPLITS, 0))
    for row in rows:
        if row.status == "ok":
            counts[row.labels][row.split] += 1
    assert len(counts) == 20
    for count in counts.values():
        assert count["train"] >= 7 and count["val"] >= 2 and count["test"] >= 3
        assert count["train"] >= 0.45 * sum(count.values())


def test_whole_instruments_are_held_out_where_there_are_three() -> None:
    sizes = {"soprano": 14, "alto": 16, "tenor": 15, "baritone": 18}
    clusters = {f"{name}-{index}": name for name, size in sizes.items() for index in range(size)}
    chosen = split_class(clusters)
    splits = {name: {chosen[cluster] for cluster, of in clusters.items() if of == name} for name in sizes}
    assert all(len(found) == 1 for found in splits.values()) and set(chosen.values()) == set(SPLITS)
    lopsided = {f"{name}-{index}": name for name, size in [("a", 80), ("b", 20), ("c", 1)] for index in range(size)}
    dealt = list(split_class(lopsided).values())
    assert all(abs(dealt.count(split) / len(dealt) - share) < 0.02 for split, share in SHARES.items())


def test_nothing_is_left_above_the_band_limit(inside: Path, make: MakeParams) -> None:
    """What is there between 8.1 and 16 kHz is the noise of rounding to int16: about -108 dB of full scale."""
    for split in SPLITS:
        source = recordings(make(), split)
        for index in range(len(source)):
            waveform = source.packed(index).astype(np.float64) / 32768
            size = 1 << (len(waveform) - 1).bit_length()
            spectrum = np.fft.rfft(waveform * np.hanning(len(waveform)), size)
            above = np.abs(spectrum[np.fft.rfftfreq(size, 1 / RATE) > 8_100]) ** 2
            assert 10 * np.log10(above.sum() * 2 / (size * len(waveform))) < -100, source.ids[index]


def test_levels_and_lengths(inside: Path, make: MakeParams) -> None:
    for split in SPLITS:
        source = recordings(make(), split)
        for index in range(len(source)):
            clip = source.packed(index)
            assert 0.15 * RATE <= len(clip) <= 10 * RATE
            assert np.abs(clip).max() <= 0.91 * 32768
            assert np.abs(clip[:3200]).max() > 0


def test_bad_recordings_are_listed_and_not_packed(rows: list[Row]) -> None:
    assert {row.status for row in rows} == {"ok", "duplicate", "short", "low_rate", "ambiguous"} <= set(STATUSES)
    for row in rows:
        assert (row.status == "ok") == (row.samples > 0) == (row.reason == "")
        assert len(row.sha256) == 64 and row.duration > 0
    assert len({row.id for row in rows}) == len(rows)


def test_attribution_has_every_recording(rows: list[Row]) -> None:
    with open(FOLDER / "ATTRIBUTION.csv", newline="") as file:
        credits = {row["id"]: row for row in csv.DictReader(file)}
    assert set(credits) == {row.id for row in rows}
    for credit in credits.values():
        assert credit["licence"] in ("MIT", "CC0-1.0") and credit["author"] and credit["url"] and credit["labelled_by"]
    assert "TimGM6mb" not in str(credits)


def test_summary_counts_what_the_manifest_lists(rows: list[Row]) -> None:
    summary = json.loads((FOLDER / "summary.json").read_text())
    assert summary == json.loads(Path("results/instruments/data.json").read_text())
    assert sum(summary["statuses"].values()) == summary["rows"] == len(rows)
    assert summary["clips"] == {
        split: sum(row.split == split and row.status == "ok" for row in rows) for split in SPLITS
    }


def test_featurize_gives_the_same_bytes_in_another_process(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "raw").symlink_to(packed / "data" / "raw")
    command = "import pathlib, sys; from harness.config import params; from harness.data.featurize import featurize; "
    command += "featurize(params.load(pathlib.Path(sys.argv[1])))"
    arguments = [sys.executable, "-c", command, str(ROOT / "presets" / "instruments.yaml")]
    run = subprocess.run(arguments, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Piano" in run.stdout and "rows by status: ok" in run.stdout

    def sums(folder: Path) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / FOLDER).iterdir()}

    assert sums(tmp_path) == sums(packed)


def test_a_second_run_with_nothing_changed_only_looks(
    packed: Path, make: MakeParams, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(packed, tmp_path / "copy")
    with contextlib.chdir(folder):
        before = {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()}
        featurize(make())
        assert f"{FOLDER}: is up to date" in capsys.readouterr().out
        assert {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()} == before
        first, second = sorted((Path("data/raw/instruments") / "samples").iterdir())[:2]
        second.write_bytes(first.read_bytes())
        featurize(make())
        assert "up to date" not in capsys.readouterr().out


def test_plain_names() -> None:
    pairs = [("Pizz C3-L", "Pizz C3(R)"), ("Alto D4(L)", "Alto D4"), ("Strings G6 L", "Strings G6R"), ("Tom (L", "Tom")]
    for first, second in pairs:
        assert duplicates.plain_name(first) == duplicates.plain_name(second)
    assert duplicates.plain_name("Temple 1 mf(L") != duplicates.plain_name("Temple 1 f(L)")
    assert duplicates.plain_name("PalmMuted Guitar F#") == "palmmutedguitarf#"


def test_clusters_find_shifted_scaled_and_inverted_copies(inside: Path, make: MakeParams) -> None:
    source = recordings(make(), "test")
    one, other = (source.packed(index).astype(np.float32) / 32768 for index in (0, 60))
    pieces = [one, other, -0.3 * one, np.pad(one, (640, 0))]
    found = duplicates.clusters(np.stack([duplicates.excerpt(piece) for piece in pieces]), ["a", "b", "c", "d"])
    assert found == [0, 1, 0, 0]


@pytest.mark.parametrize("damage", ["cut", "not a font", "gone"])
def test_a_broken_font_stops_with_its_name(packed: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "FluidR3Mono_GM.sf3"
    content = (packed / "data/raw/instruments/FluidR3Mono_GM.sf3").read_bytes()
    if damage != "gone":
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"<html>not found</html>")
    with contextlib.chdir(tmp_path), pytest.raises(UserError, match=r"FluidR3Mono_GM\.sf3: .* fetch`"):
        read_soundfont(path)
