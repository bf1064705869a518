"""The examples stage: a few test clips, what each model says of them, and their sound where its licence allows that."""

from __future__ import annotations

import base64
import csv
import io
import shutil
from typing import Any

import numpy as np
import soundfile
import soxr
import torch

from harness.audio.front_end import MEAN, STD, FrontEnd
from harness.audio.units import HOP
from harness.base import paths
from harness.base.errors import UserError, some
from harness.base.files import write_bytes, write_json
from harness.comparison.paired import read_predictions
from harness.config.params import Params
from harness.data.clips.clips import Clips, MixtureClips, open_clips
from harness.data.clips.shards import RATE
from harness.records.provenance import data_fingerprint, data_parameters, provenance
from harness.records.schemas import SCHEMA_VERSION, Examples, checked

CLIPS = 4
SEVERAL = 2  # of them with more than one label, where there are such
TOP = 5  # classes of a model, highest score first
BANDS, MOST_FRAMES = 64, 100  # of a log-mel as written
AUDIO_RATE = 16000  # Hz: the instruments are band-limited to 8 kHz
MOST_AUDIO = 1.8  # seconds: below 60 kB whatever is in it
CREDITS = ("id", "author", "licence", "url")  # of a recording, as ATTRIBUTION.csv has them
FREE = ("CC0-1.0", "MIT")  # licences under which sound may be published here


def examples(params: Params) -> None:
    """Write results/PRESET/examples: examples.json, run.json, and a FLAC file a clip where its licence allows one.

    The clips are chosen by their place and labels alone; the predictions are those of params.seeds[0]. Raises UserError
    where predictions or packed clips are missing, or models were not scored on the same clips.
    """
    seed = params.seeds[0]
    clips = open_clips(params, "test", seed=seed)
    found = {model: read_predictions(paths.predictions(params.preset, model, seed)) for model in params.models}
    for model, one in found.items():
        if one.ids.tolist() != list(clips.ids):
            raise UserError(f"{one.path}: is of other clips than those packed; run `evaluate` of {model} again")
    targets = found[params.models[0]].targets
    folder = paths.results(params.preset) / "examples"
    shutil.rmtree(folder, ignore_errors=True)
    rows = [
        _example(params, clips, index, targets[index], {model: one.scores[index] for model, one in found.items()})
        for index in chosen(targets)
    ]
    for number, (row, audio) in enumerate(rows, start=1):
        if audio is not None:
            row["audio"] = f"clip{number}.flac"
            write_bytes(folder / row["audio"], audio)
    write_json(
        folder / "examples.json",
        checked(Examples, {"schema_version": SCHEMA_VERSION, "seed": seed, "clips": [row for row, _ in rows]}),
    )
    parameters = {"preset": params.preset, "data": data_parameters(params)}
    record = provenance(
        "examples", parameters, data_fingerprint(params), "cpu", models=list(params.models), seeds=[seed]
    )
    write_json(folder / "run.json", record)
    print(f"{folder}: {len(rows)} clips, {sum(audio is not None for _, audio in rows)} with sound")


def chosen(targets: np.ndarray) -> list[int]:
    """Indices of the clips to show, ascending: the first with several labels, then the first with one, each with a
    label that no clip before it has. Scores have no say in it."""
    counts = targets.sum(axis=1)
    seen = np.zeros(targets.shape[1], bool)
    found: list[int] = []
    for fitting, most in ((counts > 1, SEVERAL), (counts == 1, CLIPS)):
        for index in np.flatnonzero(fitting).tolist():
            if len(found) < most and not seen[targets[index] > 0].any():
                found.append(index)
                seen |= targets[index] > 0
    return sorted(found)


def log_mel_of(waveform: np.ndarray) -> dict[str, Any]:
    """The log-mel of float32 (samples,), in dB, averaged to 64 bands x at most 100 frames, and rounded to 8 bits.

    `values` is the base64 of bands x frames bytes, lowest band first; 0 stands for `low_db`, 255 for `high_db`.
    """
    with torch.inference_mode():
        decibel = FrontEnd()(torch.from_numpy(waveform)[None])[0, 0].double().numpy() * STD + MEAN
    bands, frames = decibel.shape
    together = -(-frames // MOST_FRAMES)
    kept = frames // together
    small = decibel[:, : kept * together].reshape(BANDS, bands // BANDS, kept, together).mean((1, 3))
    low, high = float(small.min()), float(small.max())
    steps = np.rint((small - low) * (255 / (high - low) if high > low else 0.0)).astype(np.uint8)
    return {
        "bands": BANDS,
        "frames": kept,
        "seconds": kept * together * HOP / RATE,
        "low_db": round(low, 2),
        "high_db": round(high, 2),
        "values": base64.b64encode(steps.tobytes()).decode(),
    }


def audio_of(waveform: np.ndarray) -> bytes:
    """A FLAC file of the first 1.8 s of float32 (samples,) at 32 kHz: 16 kHz, mono, 16 bits."""
    heard = soxr.resample(waveform, RATE, AUDIO_RATE)[: round(MOST_AUDIO * AUDIO_RATE)]
    file = io.BytesIO()
    soundfile.write(file, heard.clip(-1.0, 1.0), AUDIO_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _example(
    params: Params, clips: Clips, index: int, target: np.ndarray, scores: dict[str, np.ndarray]
) -> tuple[dict[str, Any], bytes | None]:
    """A clip's entry, and its sound where all that is in it may be published."""
    waveform, labels = clips.waveform(index), clips.labels
    credits = _credits(params, clips, index)
    free = bool(credits) and all(credit["licence"] in FREE for credit in credits)
    entry = {
        "id": clips.ids[index],
        "labels": [labels[column] for column in np.flatnonzero(target)],
        "audio": None,
        "licence": ", ".join(sorted({credit["licence"] for credit in credits})) if free else None,
        "recordings": credits,
        "predictions": {
            model: [
                {"label": labels[column], "score": round(float(values[column]), 4)}
                for column in np.argsort(-values, kind="stable")[:TOP]
            ]
            for model, values in scores.items()
        },
        "log_mel": log_mel_of(waveform),
    }
    return entry, audio_of(waveform) if free else None


def _credits(params: Params, clips: Clips, index: int) -> list[dict[str, str]]:
    """Of each recording in a mixture: id, author, licence and url. Other clips are others' and are not published."""
    if not isinstance(clips, MixtureClips):
        return []
    wanted = clips.recordings(index)
    path = paths.packed(params.preset) / "ATTRIBUTION.csv"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            known = {row["id"]: row for row in csv.DictReader(file)}
        return [{name: known[recording][name] for name in CREDITS} for recording in wanted]
    except (OSError, KeyError) as error:
        raise UserError(f"{path}: does not say whose {some(wanted)} are ({error}); featurize again") from error
