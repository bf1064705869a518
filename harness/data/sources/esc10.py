"""ESC-10 (Piczak, 2015): 400 environmental recordings, 10 classes, 5 folds that one pair crosses (docs/audioset.md)."""

from __future__ import annotations

from pathlib import Path

from harness.data.clips.labels import Label, by_mid
from harness.data.clips.manifest import Attribution, Row, Source
from harness.data.clips.splits import fold_name
from harness.data.fetching.esc10_files import read_recordings
from harness.data.packing.pack import pack_each

CLASSES = {  # ESC-10's folder -> the AudioSet class that says the same
    "001 - Dog bark": "/m/05tny_",  # Bark
    "002 - Rain": "/m/06mb1",  # Rain
    "003 - Sea waves": "/m/034srq",  # Waves, surf
    "004 - Baby cry": "/t/dd00002",  # Baby cry, infant cry
    "005 - Clock tick": "/m/07qjznl",  # Tick-tock
    "006 - Person sneeze": "/m/01hsr_",  # Sneeze
    "007 - Helicopter": "/m/09ct_",  # Helicopter
    "008 - Chainsaw": "/m/01j4z9",  # Chainsaw
    "009 - Rooster": "/m/07qn5dc",  # Crowing, cock-a-doodle-doo
    "010 - Fire crackling": "/m/07pzfmf",  # Crackle
}


def classes() -> list[Label]:
    """In AudioSet's order."""
    return sorted((by_mid()[mid] for mid in CLASSES.values()), key=lambda label: label.index)


def open_esc10(raw: Path) -> Source:
    """The recordings that raw/files.csv lists, each in the split of its fold. Raises UserError where it is missing."""
    found = read_recordings(raw / "files.csv")
    credits = [
        Attribution(
            each.file,
            str(each.path),
            by_mid()[CLASSES[each.class_dir]].name,
            "ESC-10's folder",
            each.author,
            each.licence,
            each.url,
        )
        for each in found
    ]
    rows = [
        Row(each.file, fold_name(each.fold), CLASSES[each.class_dir], str(each.path))
        for each in sorted(found, key=lambda each: (each.fold, each.path))
    ]
    return Source(classes(), pack_each(rows, raw), credits)
