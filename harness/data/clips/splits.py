"""What trains, validates and tests: by cluster (no near-duplicate is in two splits), by fold, by the hash of a name."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

SHARES = {"train": 0.60, "val": 0.15, "test": 0.25}


def split_class(instruments: Mapping[str, str]) -> dict[str, str]:
    """Cluster -> split, for the clusters of one class, given as cluster -> the instrument (source) it comes from.

    Whole instruments go into one split where the class has at least three and every split then gets at least half
    its share; otherwise the clusters are dealt out by the hash of their names.
    """
    return _by_instrument(instruments) or _by_cluster(instruments)


def _by_instrument(instruments: Mapping[str, str]) -> dict[str, str] | None:
    """Largest instrument first, each to the split that lacks most; None where the shares come out too uneven."""
    sizes = Counter(instruments.values())
    if len(sizes) < 3:
        return None
    total = len(instruments)
    lacking = {split: share * total for split, share in SHARES.items()}
    chosen = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        chosen[name] = max(lacking, key=lambda split: lacking[split])
        lacking[chosen[name]] -= sizes[name]
    if any(lacking[split] > 0.5 * share * total for split, share in SHARES.items()):
        return None
    return {cluster: chosen[name] for cluster, name in instruments.items()}


def _by_cluster(instruments: Mapping[str, str]) -> dict[str, str]:
    """Dealt out within each instrument in turn, so that each is in every split as far as it has recordings."""
    order = sorted(instruments, key=lambda name: (instruments[name], hashlib.sha256(name.encode()).hexdigest()))
    chosen = {}
    given = dict.fromkeys(SHARES, 0)
    for count, cluster in enumerate(order, start=1):
        split = max(SHARES, key=lambda split: SHARES[split] * count - given[split])
        chosen[cluster] = split
        given[split] += 1
    return chosen


FOLDS = 5


def fold_name(fold: int) -> str:
    """What stands as a clip's split in the manifest of a data set with folds, which are counted from 1."""
    return f"fold{fold}"


def folds_of(split: str, seed: int) -> set[str]:
    """The folds that a split is made of in a run with this seed: seeds 0 to 4 are the five-fold cross-validation.

    Fold seed mod 5 + 1 tests, the one before it (before 1 comes 5) validates, the other three train.
    """
    test = seed % FOLDS
    val = (test - 1) % FOLDS
    chosen = {"test": {test}, "val": {val}, "train": set(range(FOLDS)) - {test, val}}[split]
    return {fold_name(fold + 1) for fold in chosen}


def is_held_out(name: str, share: float) -> bool:
    """Whether a clip is in the `share` of the training clips that validates: by its name's SHA-256 alone, so that it is
    the same whatever else is there and in whatever order."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) < share * 2**64
