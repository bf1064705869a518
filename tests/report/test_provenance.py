"""provenance.json: a cell can be followed to the files that it names, and to no others."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.comparison.paired import compare
from harness.config.params import Params
from harness.report.tables import tables
from tests.report.conftest import BASELINE, DCLS, RESULTS, timed_file

FOLDER = Path("paper_tables/instruments")
NAMES = ("table1", "comparisons", "parameters", "per_seed", "per_class")
KEYS = {
    "table1": ("model",),
    "comparisons": ("model", "baseline"),
    "parameters": ("model",),
    "per_seed": ("model", "seed"),
    "per_class": ("label",),
}
WORDS = ("device", "precision", "code_fingerprint", "data_fingerprint", "verdict")  # no file is invalid with another
ASKED_FOR = ("model", "backbone", "method", "preset", "seeds", "repeats")  # from the parameters: no result
Cells = dict[tuple[str, str, str], str]


def _cells() -> Cells:
    """Every cell of every CSV, by table, row and column."""
    found = {}
    for table in NAMES:
        for row in csv.DictReader(io.StringIO((FOLDER / f"{table}.csv").read_text())):
            name = (" - " if table == "comparisons" else "-").join(row[key] for key in KEYS[table])
            found |= {(table, name, column): cell for column, cell in row.items()}
    return found


def _files(provenance: dict[str, Any], table: str, row: str, column: str) -> list[str]:
    rows = provenance[table]
    return rows.get(row, rows.get("*", {})).get(column, [])


def _provenance() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "provenance.json").read_text())
    return found


def _maps_of(files: list[str]) -> float:
    return 100 * fmean(json.loads(Path(name).read_text())["mAP"] for name in files)


def _precision_of(label: str) -> Callable[[list[str]], float]:
    def mean(files: list[str]) -> float:
        rows = [
            row
            for name in files
            for row in csv.DictReader(Path(name).read_text().splitlines())
            if row["label"] == label
        ]
        return 100 * fmean(float(row["AP"]) for row in rows)

    return mean


def _difference_of(files: list[str]) -> float:
    rows = [row for name in files for row in csv.DictReader(Path(name).read_text().splitlines())]
    return 100 * next(float(row["difference"]) for row in rows if (row["model"], row["label"]) == (DCLS, "class 4"))


@pytest.mark.parametrize(
    ("table", "row", "column", "recompute"),
    [
        ("table1", DCLS, "map_mean", _maps_of),
        ("table1", "linear_baseline", "map_mean", _maps_of),
        ("per_seed", f"{BASELINE}-2", "map", _maps_of),
        ("per_class", "class 3", f"{DCLS}_AP", _precision_of("class 3")),
        ("per_class", "class 7", f"{BASELINE}_AP", _precision_of("class 7")),
        ("per_class", "class 4", f"{DCLS}_difference", _difference_of),
        (
            "parameters",
            DCLS,
            "head_1000",
            lambda files: 1000 * (json.loads(Path(files[0]).read_text())["models"][DCLS]["features"] + 1),
        ),
        (
            "parameters",
            DCLS,
            "total_527",
            lambda files: json.loads(Path(files[0]).read_text())["models"][DCLS]["classes"]["527"]["total"],
        ),
    ],
)
def test_a_cell_is_recomputed_from_the_files_that_it_names(
    made: Path, table: str, row: str, column: str, recompute: Callable[[list[str]], float]
) -> None:
    files = _files(_provenance(), table, row, column)
    assert float(_cells()[table, row, column]) == pytest.approx(recompute(files), rel=1e-12)


def test_every_cell_with_something_in_it_names_files_that_exist(made: Path) -> None:
    provenance, named = _provenance(), 0
    for (table, row, column), cell in _cells().items():
        files = _files(provenance, table, row, column)
        assert files == sorted(set(files)) and all(Path(name).is_file() for name in files)
        fixed = column in (*ASKED_FOR, *KEYS[table]) or row in ("chance", "linear_baseline")
        assert fixed or bool(files) == (cell != ""), (table, row, column)
        named += bool(files)
    assert named > 400


def test_no_cell_changes_with_a_file_that_it_does_not_name(workplace: Path, report_params: Params) -> None:
    """Every number, and some words, of every result file are changed a little, a file at a time."""
    params = report_params.model_copy(
        update={"models": (BASELINE, DCLS), "seeds": (0, 1), "linear_baseline_seeds": (0, 1)}
    )
    compare(params)
    tables(params)
    provenance, before, moved = _provenance(), _cells(), {}
    kept = {f"{model}-{seed}" for model in (BASELINE, DCLS, "linear_baseline") for seed in (0, 1)}
    files = [
        path
        for path in RESULTS.rglob("*.*")
        if path.parent.parent.parent.name != "runs" or path.parent.parent.name in kept
    ]
    for path in [*files, timed_file(), Path("paper_tables/published.csv")]:
        content = path.read_text()
        for change in (_changed, _floats_changed):  # whole numbers have to fit those of other files, some of them
            path.write_text(change(path, content))
            try:
                tables(params)
            except UserError:
                continue
            break
        changed = [cell for cell, value in _cells().items() if value != before[cell]]
        assert [cell for cell in changed if str(path) not in _files(provenance, *cell)] == [], path
        moved[path.name] = moved.get(path.name, 0) + len(changed)
        path.write_text(content)
    expected = {"metrics.json", "run.json", "evaluation.json", "per_class.csv", "per_class_difference.csv"}
    expected |= {"comparison.json", "published.csv", timed_file().name}
    assert {name for name, count in moved.items() if count} >= expected


def _changed(path: Path, content: str) -> str:
    if path.suffix == ".csv":
        return _csv_changed(content, whole=1)
    return json.dumps(_walked(json.loads(content), whole=1))


def _floats_changed(path: Path, content: str) -> str:
    if path.suffix == ".csv":
        return _csv_changed(content, whole=0)
    return json.dumps(_walked(json.loads(content), whole=0))


def _walked(value: Any, whole: int, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: one if name == "schema_version" else _walked(one, whole, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_walked(one, whole, key) for one in value]
    if isinstance(value, bool):
        return not value if key == "dirty" else value
    if isinstance(value, int):
        return value + whole
    if isinstance(value, float):
        return value * (1 + 1e-11)  # within the tolerance of what has to be the same in two files
    return f"{value}!" if key in WORDS else value


def _csv_changed(content: str, whole: int) -> str:
    def moved(cell: str) -> str:
        try:
            return str(int(cell) + whole)
        except ValueError:
            pass
        try:
            return repr(float(cell) * (1 + 1e-9))
        except ValueError:
            return cell

    rows = [[moved(cell) for cell in row] for row in csv.reader(io.StringIO(content))]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
