"""ESC-10's 400 recordings, one by one, from a mirror or its public repository at one commit."""

from __future__ import annotations

import csv
import shutil
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from harness.base.download import download, missing, search
from harness.base.errors import UserError
from harness.base.files import write_csv

HERE = Path(__file__).parent
COLUMNS = ["file", "class_dir", "fold", "sha256", "licence", "author", "freesound_id", "url"]
ADDRESS = "https://raw.githubusercontent.com/karoldvl/ESC-10/553c8f1743b9dba6b282e1323c3ca8fa76923448"
MAX_BYTES = 2 * 1024 * 1024  # of one recording; the largest has 0.2 MB


@dataclass(frozen=True)
class Recording:
    """A row of esc10_files.csv: facts about one recording, from the data set's own list and file names."""

    file: str
    class_dir: str
    fold: int
    sha256: str
    licence: str
    author: str
    freesound_id: str
    url: str

    @property
    def path(self) -> Path:
        """Inside the data set's folder."""
        return Path(self.class_dir) / self.file


def read_recordings(path: Path = HERE / "esc10_files.csv") -> list[Recording]:
    """Raises UserError, naming the file, where it is missing or has other columns."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [Recording(**(row | {"fold": int(row["fold"])})) for row in csv.DictReader(file)]  # type: ignore[arg-type]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: no list of ESC-10's recordings ({error}); run `python -m harness fetch`") from error


def fetch_esc10(
    folder: Path,
    mirror: Path | None,
    cache: Path,
    recordings: Sequence[Recording] | None = None,
    address: str = ADDRESS,
) -> None:
    """Copy the recordings into `folder`, as CLASS/FILE, beside their list, files.csv.

    Raises UserError where one is nowhere to be had.
    """
    recordings = read_recordings() if recordings is None else recordings
    for recording in tqdm(recordings, desc="ESC-10", unit="file", disable=None):
        target = folder / recording.path
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(_found(recording, mirror, cache, address), target)
    rows = [[getattr(recording, name) for name in COLUMNS] for recording in recordings]
    write_csv(folder / "files.csv", COLUMNS, rows)
    print(f"ESC-10: {len(recordings)} recordings, checked", flush=True)


def _found(recording: Recording, mirror: Path | None, cache: Path, address: str) -> Path:
    """The recording in the mirror (or in its folder esc10), the cache, or downloaded into the cache."""
    cached, digest = cache / recording.path, f"sha256:{recording.sha256}"
    places = [mirror / recording.path, mirror / "esc10" / recording.path] if mirror else []
    found = search([*places, cached], digest)
    if found is not None:
        return found
    url = f"{address}/{urllib.parse.quote(recording.path.as_posix())}"
    try:
        download(url, cached, digest=digest, most=MAX_BYTES)
    except OSError as error:
        instead = "name a folder that holds ESC-10 by data.mirror in params.yaml or by DCLS_HARNESS_MIRROR"
        raise missing(str(recording.path), mirror, cached, url, error, instead) from error
    return cached
