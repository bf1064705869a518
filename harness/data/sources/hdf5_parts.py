"""Which files the rows of an HDF5 file lie in: its own, and those behind virtual data sets and external links."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from harness.base.errors import UserError
from harness.base.files import state_of
from harness.data.clips.hdf5 import Files, opened

Source = tuple[str, str, tuple[int, ...] | int]  # file (`.`: the same), data set, what is used: its bounds, or how many


def files_behind(path: Path, names: tuple[str, ...]) -> tuple[Path, ...]:
    """`path` and every file that those of the data sets `names` which it has take values from, at any depth, each once.

    HDF5 gives zeros, and no error, for what lies in a file that is gone or too short. Raises UserError, naming the file
    and the part, where one is.
    """
    found: dict[Path, set[str]] = {}
    with opened(path) as file:
        there = set(file)  # by name, wherever a link leads
    waiting: list[tuple[Path, Source, Path]] = [(path, (".", name, 0), path) for name in names if name in there]
    while waiting:
        whole, (link, name, used), parent = waiting.pop()
        part = _place(whole, link)
        if not part.is_file():
            raise UserError(f"{parent}: its part {part} is missing; put it back where it was")
        if not name:  # raw values
            found.setdefault(part, set())
            continue
        with opened(part) as file:
            sources = list(_sources(part, file, name, used))
        if name not in found.setdefault(part, set()):
            waiting += [(part, source, part) for source in sources]
        found[part].add(name)
    return tuple(found)


def states_behind(path: Path, names: tuple[str, ...]) -> Files:
    """The same files, each with its present state."""
    found = [(part, state_of(part)) for part in files_behind(path, names)]
    return tuple((part, state) for part, state in found if state is not None)


def _sources(path: Path, file: h5py.File, name: str, used: tuple[int, ...] | int) -> Iterator[Source]:
    """What the data set `name`, of which `used` is taken, takes its own values from."""
    at, *rest = [part for part in name.split("/") if part]
    while True:
        link = file.get(at, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield link.filename, "/".join([link.path, *rest]), used
            return
        if isinstance(link, h5py.SoftLink):
            above = "" if link.path.startswith("/") else at.rpartition("/")[0]
            yield ".", "/".join([above, link.path, *rest]), used
            return
        if not rest:
            break
        at = f"{at}/{rest.pop(0)}"
    dataset = file.get(at)
    if not isinstance(dataset, h5py.Dataset) and not used:
        return  # the file's own data sets are checked elsewhere
    if not isinstance(dataset, h5py.Dataset) or not _has(dataset, used):
        what = f"shape {dataset.shape}" if isinstance(dataset, h5py.Dataset) else "none of that name"
        raise UserError(f"{path}: its data set `{at}` lacks rows that are taken from it ({what}); give the whole file")
    for raw, _, _ in dataset.external or ():
        yield raw, "", 0
    if dataset.is_virtual:
        for source in dataset.virtual_sources():
            yield from _mapped(path, source)


def _has(dataset: h5py.Dataset, used: tuple[int, ...] | int) -> bool:
    if isinstance(used, int):
        return bool((dataset.size or 0) >= used)
    return len(used) == dataset.ndim and all(end < size for end, size in zip(used, dataset.shape, strict=True))


def _mapped(path: Path, source: Any) -> Iterator[Source]:
    """A virtual data set's source; where its name has a `%b`, which counts blocks, all files that there are."""
    if "%b" not in source.file_name:
        space, whole = source.src_space, source.src_space.get_select_type() == h5py.h5s.SEL_ALL
        try:
            used = source.vspace.get_select_npoints() if whole else space.get_select_bounds()[1]
        except (RuntimeError, ValueError):  # a selection without an end, which takes what there is
            used = 1
        yield source.file_name, source.dset_name, used
        return
    pattern = re.compile(re.escape(Path(source.file_name).name).replace("%b", r"(\d+)"))
    folder = (path.parent / source.file_name).parent
    found = [int(match[1]) for each in os.listdir(folder) if (match := pattern.fullmatch(each))]
    for number in range(max(found, default=0) + 1):  # one that lacks among them is named
        yield source.file_name.replace("%b", str(number)), source.dset_name.replace("%b", str(number)), 1


def _place(path: Path, link: str) -> Path:
    """Where HDF5 looks for a file that `path` names: beside it, then from where the program runs."""
    if link == ".":
        return path
    places = [path.parent / link, Path(link), path.parent / Path(link).name]
    return next((place for place in places if place.is_file()), places[0])
