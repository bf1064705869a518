"""Tags recordings with a trained model: `python -m harness predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from harness.base.errors import UserError
from harness.config.params import Params
from harness.data.clips.shards import RATE
from harness.predicting.output import PRINT, Tagged, picture_names, write_embeddings, write_picture
from harness.predicting.reading import Block, Windows, read_ahead, recordings
from harness.predicting.weights import Tagger, open_file, open_run, tagger


@dataclass(frozen=True)
class Request:
    """What was asked on the command line; `hop` in seconds, None for a clip's length."""

    recordings: tuple[Path, ...]
    run: str | None = None
    weights: Path | None = None
    top: int = 10
    format: str = "text"
    hop: float | None = None
    embeddings: Path | None = None
    pictures: Path | None = None


def predict(params: Params, request: Request) -> int:
    """Print what is heard in each recording, one after the other; 1 where one cannot be read, which is named on stderr.

    A recording is scored in windows of the length that the model was trained on. Raises UserError where the weights or
    the recordings are not there, or --top or --hop is out of range.
    """
    files = recordings(request.recordings)
    model, about = open_file(request.weights) if request.weights else open_run(params, request.run)
    windows = _windows(request, about.clip_seconds, about.front_end.band_limit_hz)
    if request.top < 1:
        raise UserError(f"--top: {request.top} classes are none; give 1 or more")
    names = picture_names(files)
    print(f"{about.title}, preset {about.preset}, {len(about.labels)} classes", file=sys.stderr)
    show, embeddings, bad = PRINT[request.format](about.labels, request.top), [], 0
    bar = tqdm(total=len(files), unit="file", disable=None)
    with bar:
        for tagged in tag(tagger(model, about), files, windows, params.evaluate.batch):
            bar.update()
            if tagged.problem:
                bad += 1
                tqdm.write(f"{tagged.file}: {tagged.problem}; left out", file=sys.stderr)
                continue
            with bar.external_write_mode(sys.stdout):
                show(tagged)
            if request.embeddings:
                embeddings.append(tagged)
            if request.pictures:
                write_picture(request.pictures / names[tagged.file], tagged, about.labels, request.top)
    if request.embeddings and embeddings:
        write_embeddings(request.embeddings, embeddings)
    return 1 if bad else 0


def tag(model: Tagger, files: Sequence[Path], windows: Windows, batch: int) -> Iterator[Tagged]:
    """Each recording with the scores and embeddings of its windows, in the order of `files`; `batch` windows at a time,
    whichever recordings they are from."""
    seconds = windows.samples / RATE
    begun: list[_Begun] = []
    waiting: list[tuple[_Begun, np.ndarray]] = []

    def score() -> None:
        scores, embeddings = model(torch.from_numpy(np.stack([window for _, window in waiting])))
        for (one, _), of_one, embedding in zip(waiting, scores.numpy(), embeddings.numpy(), strict=True):
            one.scores.append(of_one)
            one.embeddings.append(embedding)
        waiting.clear()

    def finished() -> Iterator[Tagged]:
        while begun and begun[0].is_finished:
            yield begun.pop(0).tagged(seconds)

    for block in read_ahead(files, windows):
        if not begun or begun[-1].ended:
            begun.append(_Begun(block.file))
        begun[-1].take(block)
        for window in block.windows:
            waiting.append((begun[-1], window))
            if len(waiting) == batch:
                score()
        yield from finished()
    if waiting:
        score()
    yield from finished()


class _Begun:
    """A recording of which windows are read, and perhaps scored."""

    def __init__(self, file: Path) -> None:
        self.file, self.starts, self.ended, self.problem = file, list[int](), False, ""
        self.scores, self.embeddings = list[np.ndarray](), list[np.ndarray]()

    def take(self, block: Block) -> None:
        self.starts += block.starts
        self.ended, self.problem = block.last, block.problem

    @property
    def is_finished(self) -> bool:
        return self.ended and len(self.scores) == len(self.starts)

    def tagged(self, seconds: float) -> Tagged:
        starts = np.array(self.starts, np.float64) / RATE
        if self.problem:
            return Tagged(self.file, starts, seconds, np.empty(0), np.empty(0), self.problem)
        return Tagged(self.file, starts, seconds, np.stack(self.scores), np.stack(self.embeddings))


def _windows(request: Request, clip_seconds: float, band_limit: float | None) -> Windows:
    hop = clip_seconds if request.hop is None else request.hop
    if not 1 / 100 <= hop <= clip_seconds:
        raise UserError(f"--hop: is {hop:g}, must be from 0.01 to {clip_seconds:g}, the seconds that the model hears")
    return Windows(round(clip_seconds * RATE), round(hop * RATE), band_limit)
