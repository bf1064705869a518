"""What each form of AudioSet costs: bytes a clip on disk, processor time a clip to featurize, clips a second and core.

`python -m benchmarks.forms_bench FOLDER` makes clips of ten seconds out of the recordings in FOLDER (ESC-10, for one),
encodes them as each form is published, featurizes 40 and 160 of them in one process, the difference of which counts,
and reads 160 in random order from the page cache. All in processor time, which other work hardly changes.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from harness.config.params import Audioset, Params, load
from harness.data.clips.clips import Clips, open_clips
from harness.data.featurize import featurize
from harness.data.fetching.fetch import fetch
from tests.data_stage import forms

ROOT = Path(__file__).parent.parent
FEW, MANY, SECONDS = 40, 160, 10
Encode = Callable[[np.ndarray], bytes]  # stereo at 44.1 kHz -> a file


def encoder(kind: str, rate: int, channels: int, subtype: str | None = None) -> Encode:
    def encode(sound: np.ndarray) -> bytes:
        samples = soxr.resample(sound if channels == 2 else sound.mean(axis=1), 44_100, rate)
        return content_of(samples, rate, kind, subtype)

    return encode


def content_of(samples: np.ndarray, rate: int, kind: str, subtype: str | None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype, format=kind)
    return file.getvalue()


FORMS: dict[str, tuple[str, Encode]] = {  # what is measured: the form, and the codec of its sounds
    "PANNs HDF5, int16": ("waveforms", encoder("FLAC", 32_000, 1)),
    "parquet, flac 48 kHz stereo 24 bit": ("parquet", encoder("FLAC", 48_000, 2, "PCM_24")),
    "HDF5 with mp3, 32 kHz mono": ("mp3", encoder("MP3", 32_000, 1)),
    "tar, flac 48 kHz mono": ("tar", encoder("FLAC", 48_000, 1)),
    "folder, wav 44.1 kHz stereo": ("folder", encoder("WAV", 44_100, 2)),
    "folder, flac 44.1 kHz stereo": ("folder", encoder("FLAC", 44_100, 2)),
    "folder, mp3 44.1 kHz stereo": ("folder", encoder("MP3", 44_100, 2)),
}


def main() -> None:
    found = sorted(path for path in Path(sys.argv[1]).rglob("*.*") if path.suffix in (".ogg", ".wav", ".flac"))
    sound = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in found])
    length = 44_100 * SECONDS
    starts = np.random.default_rng(0).integers(0, len(sound) - length, (MANY, 2))
    pieces = [np.stack([sound[start : start + length] for start in both], axis=1) for both in starts]
    os.environ["TQDM_DISABLE"] = "1"
    print("| form | MB a clip | featurize, ms | read packed, clips/s | read in place, clips/s |\n|---|--:|--:|--:|--:|")
    for what, (form, encode) in FORMS.items():
        with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
            print(f"| {what} | {' | '.join(measured(form, [encode(piece) for piece in pieces]))} |", flush=True)


def measured(form: str, contents: Sequence[bytes]) -> list[str]:
    few, many = (written(form, f"{count}", contents[:count]) for count in (FEW, MANY))
    size = sum(path.stat().st_size for path in Path(str(MANY)).rglob("*") if path.is_file()) / MANY
    slope = (timed(lambda: prepare(many)) - timed(lambda: prepare(few))) / (MANY - FEW)
    prepare(many)
    rates = [f"{reading(many):.0f}"]
    if form in ("parquet", "waveforms"):
        rates.insert(1 if form == "parquet" else 0, "")
    else:
        in_place = Audioset(**many.data.audioset_files.model_dump() | {"in_place": True})
        many = many.model_copy(update={"data": many.data.model_copy(update={"audioset": in_place})})
        prepare(many)
        rates.append(f"{reading(many):.0f}")
    return [f"{size / 1e6:.2f}", f"{1000 * slope:.1f}", *rates]


def written(form: str, name: str, contents: Sequence[bytes]) -> Params:
    folder = Path(name)
    folder.mkdir()
    first = soundfile.info(io.BytesIO(contents[0]))
    clips = [forms.Made(f"{index:011d}", ("/m/09x0r",), np.zeros(0)) for index in range(len(contents))]
    by_id = dict(zip((clip.id for clip in clips), contents, strict=True))
    if form == "waveforms":
        sounds = {name: soundfile.read(io.BytesIO(content), dtype="int16")[0] for name, content in by_id.items()}
        clips = [forms.Made(clip.id, clip.mids, sounds[clip.id]) for clip in clips]
    forms.encoded = lambda clip, *_: by_id[clip.id]
    named = forms.write_form(form, folder, {"train": clips[:-2], "test": clips[-2:]})
    where = {key: tuple(f"{name}/{value}" for value in values) for key, values in named.items()}  # type: ignore[attr-defined]
    assert first.frames >= SECONDS * first.samplerate - 1
    params = load(ROOT / "presets" / "audioset.yaml")
    data = params.data.model_copy(update={"audioset": Audioset(**where), "max_bad_fraction": 1.0})
    return params.model_copy(update={"data": data})


def prepare(params: Params) -> None:
    shutil.rmtree("data", ignore_errors=True)
    shutil.rmtree(".cache", ignore_errors=True)
    with contextlib.redirect_stdout(None):
        fetch(params)
        featurize(params, 1)


def reading(params: Params) -> float:
    """Clips a second of processor time, in random order."""
    clips: Clips = open_clips(params, "train")
    order = np.random.default_rng(0).permutation(len(clips))
    return len(clips) / timed(lambda: [clips.waveform(int(index)) for index in order])


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor time."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
