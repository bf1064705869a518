"""The figures of dcls/README.md are those of the committed benchmark results."""

import pytest

from benchmarks.table import RESULTS, table
from tests.conftest import ROOT

COMMITTED = sorted(RESULTS.glob("dcls-*.csv"))


def test_there_are_results() -> None:
    assert COMMITTED


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_the_readme_has_the_measured_table(path) -> None:
    assert table(path) in (ROOT / "dcls" / "README.md").read_text()
