"""The clips that training and evaluation read: packed ones, or mixtures drawn from packed recordings. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from harness.base import paths
from harness.base.errors import UserError, some
from harness.config.params import Params
from harness.data.clips import mixtures
from harness.data.clips.indexed import open_indexed
from harness.data.clips.labels import read_labels
from harness.data.clips.manifest import SPLITS, Row, read_manifest
from harness.data.clips.shards import RATE, open_shard
from harness.data.clips.splits import folds_of


class Clips(Protocol):
    """A fixed list of clips. Indexing is cheap and needs no order; any number of processes may read at once.

    `labels` are display names, one a column of `targets`, which is float32 (clips, classes) of 0 and 1, or stands for
    such an array without being held whole (index.Targets); `ids` are the clips' names.
    """

    @property
    def labels(self) -> list[str]: ...

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def targets(self) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def waveform(self, index: int) -> np.ndarray:
        """float32 (clip_seconds * 32000,), full scale 1.0."""
        ...


@dataclass(frozen=True)
class PackedClips:
    """Clips as packed, zero-padded at the end or cut."""

    labels: list[str]
    mids: list[str]
    rows: list[Row]
    shards: dict[int, np.ndarray]
    samples: int

    @cached_property
    def ids(self) -> list[str]:
        return [row.id for row in self.rows]

    @cached_property
    def targets(self) -> np.ndarray:
        targets = np.zeros((len(self.rows), len(self.mids)), np.float32)
        column = {mid: index for index, mid in enumerate(self.mids)}
        for index, row in enumerate(self.rows):
            targets[index, [column[mid] for mid in row.labels.split(";") if mid]] = 1.0
        return targets

    def __len__(self) -> int:
        return len(self.rows)

    def packed(self, index: int) -> np.ndarray:
        """int16 (the clip's own samples,), a view of the memory-mapped shard."""
        row = self.rows[index]
        return self.shards[row.shard][row.offset : row.offset + row.samples]

    def waveform(self, index: int) -> np.ndarray:
        waveform = np.zeros(self.samples, np.float32)
        clip = self.packed(index)[: self.samples]
        np.multiply(clip, np.float32(1 / 32768), out=waveform[: len(clip)])
        return waveform


@dataclass(frozen=True)
class MixtureClips:
    """Mixtures `first` to `first + count - 1` of a split, out of the recordings in `source`."""

    source: PackedClips
    split: str
    seed: int
    first: int
    count: int

    @property
    def labels(self) -> list[str]:
        return self.source.labels

    @cached_property
    def ids(self) -> list[str]:
        return [f"{self.split}-{index:06d}" for index in range(self.first, self.first + self.count)]

    @cached_property
    def targets(self) -> np.ndarray:
        targets = np.zeros((self.count, len(self.labels)), np.float32)
        for index in range(self.count):
            targets[index, [part.column for part in self._plan(index)]] = 1.0
        return targets

    def __len__(self) -> int:
        return self.count

    def waveform(self, index: int) -> np.ndarray:
        return mixtures.render(self._plan(index), self._recordings, self.source.samples)

    def recordings(self, index: int) -> list[str]:
        """The ids of the recordings that a mixture is made of."""
        columns = self.source.targets.argmax(axis=1)
        return [self.source.ids[np.flatnonzero(columns == part.column)[part.recording]] for part in self._plan(index)]

    def _plan(self, index: int) -> list[mixtures.Part]:
        if not 0 <= index < self.count:
            raise IndexError(f"clip {index} of {self.count}")
        return mixtures.plan(self.seed, self.split, self.first + index, self._lengths, self.source.samples)

    @cached_property
    def _recordings(self) -> list[list[np.ndarray]]:
        found: list[list[np.ndarray]] = [[] for _ in self.labels]
        for index, column in enumerate(self.source.targets.argmax(axis=1)):
            found[column].append(self.source.packed(index))
        return found

    @cached_property
    def _lengths(self) -> list[np.ndarray]:
        return [np.array([len(recording) for recording in recordings]) for recordings in self._recordings]


def open_clips(params: Params, split: str, epoch: int = 0, seed: int = 0) -> Clips:
    """The clips of `train`, `val` or `test` as featurized for params.preset.

    `instruments`: epoch e of `train` holds mixtures e * train_mixtures and on; val and test are the same in every
    epoch. Other kinds have no epochs. With folds (`esc10`, `esc50`) a split is made of those that the run's seed says.
    Raises UserError where nothing is packed, or a class has no recording.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, is {split!r}")
    folder = paths.packed(params.preset)
    labels = read_labels(folder / "labels.csv")
    if params.data.is_listed:
        return open_indexed(params, folder, split, [label.name for label in labels])
    chosen = folds_of(split, seed) if params.data.has_folds else {split}
    rows = [row for row in read_manifest(folder / "manifest.csv") if row.split in chosen and row.status == "ok"]
    if not rows:
        raise UserError(f"{folder / 'manifest.csv'}: no usable clip in split {split}; see its column `reason`")
    samples = round(params.data.clip_seconds * RATE)
    shards = {index: open_shard(folder, index) for index in sorted({row.shard for row in rows})}
    packed = PackedClips([label.name for label in labels], [label.mid for label in labels], rows, shards, samples)
    if params.data.kind != "instruments":
        return packed
    empty = [label.name for label, count in zip(labels, packed.targets.sum(axis=0), strict=True) if not count]
    if empty:
        raise UserError(f"{folder / 'manifest.csv'}: no {split} recording of {some(empty)}; featurize again")
    data = params.data
    count = {"train": data.train_mixtures, "val": data.val_mixtures, "test": data.test_mixtures}[split]
    return MixtureClips(packed, split, data.mixture_seed, epoch * count if split == "train" else 0, count)
