"""The figures of dcls/README.md are those of the committed benchmark results."""

from pathlib import Path

import pytest

import dcls
from benchmarks.table import RESULTS, clients_table, table

COMMITTED = sorted(RESULTS.glob("dcls-*.csv"))
CLIENTS = sorted(RESULTS.glob("clients-*.csv"))


def test_there_are_results() -> None:
    assert COMMITTED
    assert CLIENTS


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_the_readme_has_the_measured_table(path) -> None:
    assert table(path) in Path(dcls.__file__).with_name("README.md").read_text()


@pytest.mark.parametrize("path", CLIENTS, ids=lambda path: path.stem)
def test_the_readme_has_the_table_of_clients(path) -> None:
    assert clients_table(path) in Path(dcls.__file__).with_name("README.md").read_text()
