"""Which clusters train, validate and test: no near-duplicate is in two splits, nor, where it can be, an instrument."""

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
