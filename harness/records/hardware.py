"""The hardware fingerprint: a file that changes when the machine does, so that timings are taken anew."""

from __future__ import annotations

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_json, write_json
from harness.records.provenance import hardware


def write_hardware() -> None:
    """Write runs/hardware.json where it differs from what is there (a damaged file counts as different)."""
    found = hardware()
    try:
        known = read_json(paths.HARDWARE)
    except UserError:
        known = None
    if known != found:
        write_json(paths.HARDWARE, found)
