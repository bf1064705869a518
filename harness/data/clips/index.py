"""The index of a split's clips: where each lies and its labels, in files that are memory-mapped, so that two million
clips are never held whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np

from harness.base.errors import UserError
from harness.data.clips.manifest import SPLITS
from harness.data.clips.shards import GrowingArray

PIECE = 4096  # clips whose targets are unpacked at a time where all are gone through


def record_type(classes: int) -> np.dtype[Any]:
    """A clip: `file`, `offset` and `samples` as in the manifest, the end of its id among the ids, labels as bits."""
    fields = [("file", "<i4"), ("offset", "<i8"), ("samples", "<i4"), ("id_end", "<i8")]
    return np.dtype([*fields, ("labels", "u1", (max(1, (classes + 7) // 8),))])


class IndexWriter:
    """Appends clips to `index-SPLIT.npy` (records) and `index-SPLIT.ids` (the ids, UTF-8, one after another)."""

    def __init__(self, folder: Path, classes: int) -> None:
        self._classes, self._type = classes, record_type(classes)
        self._records = {split: GrowingArray(folder / f"index-{split}.npy", self._type) for split in SPLITS}
        self._ids = {split: open(folder / f"index-{split}.ids", "wb") for split in SPLITS}  # noqa: SIM115

    def append(self, split: str, name: str, place: tuple[int, int, int], columns: Sequence[int]) -> None:
        """`place` is (file, offset, samples); `columns` are those of the clip's labels."""
        bits = np.zeros(self._classes, bool)
        bits[list(columns)] = True
        self._ids[split].write(name.encode())
        record = np.zeros(1, self._type)
        record["file"], record["offset"], record["samples"] = place
        record["id_end"] = self._ids[split].tell()
        packed = np.packbits(bits)
        record["labels"][0, : len(packed)] = packed
        self._records[split].append(record)

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for split in SPLITS:
            self._records[split].close()
            self._ids[split].close()


@dataclass(frozen=True, eq=False)
class Ids(Sequence[str]):
    """The names of the clips, decoded one by one."""

    ends: np.ndarray
    text: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # negative ones count from the end; raises IndexError
        first = int(self.ends[index - 1]) if index else 0
        return bytes(self.text[first : int(self.ends[index])]).decode()


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels as an array float32 (clips, classes) of 0 and 1, kept as bits; what is indexed is unpacked.

    `targets[rows]`, `targets[rows, columns]`, `shape`, `sum(axis)` and np.asarray work as on an array.
    """

    bits: np.ndarray
    classes: int

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.bits), self.classes

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    @property
    def ndim(self) -> int:
        return 2

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, key: Any) -> np.ndarray:
        if isinstance(key, tuple):
            rows, *rest = key
            return self[rows][..., *rest]
        return np.unpackbits(self.bits[key], axis=-1, count=self.classes).astype(np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.float32, copy=False)

    def sum(self, axis: int | None = None) -> Any:
        if axis == 0:
            return sum(self._pieces(lambda piece: piece.sum(0)), np.zeros(self.classes, np.float32))
        if axis is None:
            return float(sum(self._pieces(lambda piece: float(piece.sum()))))
        return np.concatenate(list(self._pieces(lambda piece: piece.sum(axis))))

    def _pieces(self, function: Callable[[np.ndarray], Any]) -> Iterator[Any]:
        return (function(self[first : first + PIECE]) for first in range(0, len(self), PIECE))


@dataclass(frozen=True)
class Index:
    """A split's index in `folder`, opened when first asked; raises UserError, naming the file, where there is none."""

    folder: Path
    split: str
    classes: int

    @cached_property
    def records(self) -> np.ndarray:
        path = self.folder / f"index-{self.split}.npy"
        try:
            records = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: no readable index ({error}); run `python -m harness featurize` again") from error
        if records.dtype != record_type(self.classes):
            raise UserError(f"{path}: does not fit labels.csv beside it; run `python -m harness featurize` again")
        return records

    @cached_property
    def ids(self) -> Ids:
        text = np.memmap(self.folder / f"index-{self.split}.ids", np.uint8, "r")
        return Ids(self.records["id_end"], text)

    @property
    def targets(self) -> Targets:
        return Targets(self.records["labels"], self.classes)

    def __len__(self) -> int:
        return len(self.records)

    def place(self, index: int) -> tuple[int, int, int]:
        """File, offset and samples of a clip."""
        record = self.records[index]
        return int(record["file"]), int(record["offset"]), int(record["samples"])

    def __reduce__(self) -> tuple[type[Index], tuple[Path, str, int]]:
        return Index, (self.folder, self.split, self.classes)  # another process maps the files itself
