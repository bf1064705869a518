"""Throughput in the reports: which row is the fairest, the table of all devices, the goals, the figures."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import write_csv
from harness.config.params import Params
from harness.config.systems import PAPER
from harness.report.figures import theme
from harness.report.figures.speed import GREYS, step_time, throughput_by_batch
from harness.report.frames import load_frames
from harness.report.made_by import made_by
from harness.report.tables import tables
from harness.report.timing_frames import fairest
from harness.throughput import rows
from harness.throughput.device import slug
from tests.made_up_timings import PARTS
from tests.report.conftest import BASELINE, DCLS, RESULTS, rows_of_table, timed_file, timing_of

H100 = "NVIDIA H100 80GB HBM3"


def timings_like(params: Params, models: Sequence[str] = tuple(PAPER), **changes: Any) -> pd.DataFrame:
    """The shown rows of the workplace, with other cells: as if timed under another condition, or as another speed."""
    found = load_frames(params).shown_timings.set_index("model").loc[list(models)].reset_index(drop=True)
    found = found.drop(columns="method")
    return found.assign(**changes)


def test_the_fairest_row(workplace: Path, report_params: Params) -> None:
    def chosen(*timings: pd.DataFrame) -> pd.DataFrame:
        return fairest(pd.concat(timings, ignore_index=True), report_params.systems)

    plain = timings_like(report_params)
    pd.testing.assert_frame_equal(chosen(plain), plain)
    for change in ({"mode": "training"}, {"precision": "bf16"}, {"compiled": True}, {"fused": True}, {"classes": 1000}):
        assert chosen(timings_like(report_params, **change)).empty
    pd.testing.assert_frame_equal(chosen(plain[1:]), plain[1:].reset_index(drop=True))  # five of six
    larger = timings_like(report_params, batch=64)
    assert set(chosen(larger, plain).batch) == {64}
    assert set(chosen(larger[:-1], plain).batch) == {4}  # one ran out of memory
    slow, fast = (timings_like(report_params, channels_last=False, throughput=speed) for speed in (0.01, 1000.0))
    assert set(chosen(plain, slow).channels_last) == {True}
    assert set(chosen(plain, fast).channels_last) == {False}
    for year, layout in (("1999", True), ("2999", False)):  # another commit's timings count once they are the latest
        made = {"revision": "b" * 40, "date": f"{year}-01-01"}
        other = timings_like(report_params, channels_last=False, throughput=1000.0, **made)
        assert set(chosen(plain, other).channels_last) == {layout}


def add_device(device: str, change: dict[str, str], **where: str) -> None:
    """A file of another device: this one's DCLS rows `where` a cell is so, with changed cells."""
    path = timed_file()
    found = [row | change | {"device": device} for row in rows.read(path)]
    kept = [row for row in found if all(row[key] == value for key, value in where.items())]
    rows.upsert(paths.THROUGHPUT / f"{slug(device)}.csv", [dict.fromkeys(rows.COLUMNS) | row for row in kept])


def goals() -> dict[str, list[str]]:
    page = Path("paper_tables/instruments/throughput.md").read_text().split("**Goals")[1]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    return {line[0]: line[1:] for line in lines[2:]}


def test_goals_are_not_measured_without_such_a_gpu(workplace: Path, report_params: Params) -> None:
    tables(report_params)
    assert {line[0] for line in goals().values()} == {"not measured"} and len(goals()) == 3


@pytest.mark.parametrize(("ratio", "met"), [("0.97", "met"), ("0.86", "not met")])
def test_goals_on_such_a_gpu(workplace: Path, report_params: Params, ratio: str, met: str) -> None:
    bf16 = {"precision": "bf16", "compiled": "yes", "ratio_to_baseline": ratio}
    add_device(H100, bf16, mode="inference", batch="4")
    tables(report_params)
    found = goals()
    assert found["inference, bf16, compiled: ratio at least 0.95"][:2] == [met, f"{float(ratio):.3f}"]
    assert found["inference, float32: ratio at least the published one"][0] == "not measured"
    add_device(H100, {"ratio_to_baseline": ratio}, mode="inference", batch="4")
    add_device(H100, {"ratio_to_baseline": ratio}, mode="training")
    tables(report_params)
    found = goals()
    # the published ratios are 0.77, 0.87 and 0.86
    assert found["inference, float32: ratio at least the published one"][0] == met
    assert found["training: ratio at least 0.85"][:2] == ["met", f"{float(ratio):.3f}"]


def test_the_table_has_every_device_and_what_did_not_run(workplace: Path, report_params: Params) -> None:
    full = {"status": "out of memory", "ratio_to_baseline": "", "throughput": ""}
    add_device("Abacus, 1 core", full, mode="training")
    tables(report_params)
    with open("paper_tables/instruments/throughput.csv", newline="") as file:
        found = list(csv.DictReader(file))
    here = timing_of(DCLS)["device"]
    assert {row["device"] for row in found} == {here, "Abacus, 1 core"}
    assert {row["status"] for row in found if row["device"] != here} == {"out of memory"}
    (chosen,) = [row for row in found if row["fairest"] == "yes" and row["backbone"] == "ConvNeXt-T"]
    assert chosen["ratio"] == timing_of(DCLS)["ratio_to_baseline"] and chosen["batch"] == "4"
    assert float(chosen["ratio_published"]) == 509.4 / 591.4 and chosen["in_words"].startswith("slower by ")
    page = Path("paper_tables/instruments/throughput.md").read_text()
    assert f"baseline's on {here}**" in page and "Abacus" not in page and page.count("(in table 1)") == 3
    metrics = json.loads((RESULTS / "summary.json").read_text())
    assert metrics["speed_over_baseline"][DCLS] == float(chosen["ratio"])


@pytest.mark.parametrize("left", ["the baselines", "no row", "no file"])
def test_what_was_not_timed_is_missing_from_the_tables_and_stops_nothing(
    workplace: Path, report_params: Params, left: str
) -> None:
    with open(timed_file(), newline="") as file:
        found = list(csv.DictReader(file))
    kept = [row for row in found if left == "the baselines" and not row["convolution"].startswith("DCLS")]
    write_csv(timed_file(), list(found[0]), kept)
    if left == "no file":
        shutil.rmtree(paths.THROUGHPUT)
    tables(report_params)
    table, frames = rows_of_table(), load_frames(report_params)
    assert table[DCLS]["throughput_527"] == "" and table[DCLS]["map_mean"]
    assert bool(table[BASELINE]["throughput_527"]) == (left == "the baselines")
    if left != "the baselines":
        assert throughput_by_batch(frames) is None
        assert dict(made_by(frames).facts)["Timing"].endswith("run `python -m harness throughput`")


def test_a_damaged_row_is_named(workplace: Path, report_params: Params) -> None:
    path = timed_file()
    line = rows.read(path).index(timing_of(DCLS)) + 2
    path.write_text(path.read_text().replace(timing_of(DCLS)["throughput"], "fast"))
    said = f"{path}: line {line}, column throughput: 'fast' is no number; restore it from Git, or measure again"
    with pytest.raises(UserError, match=rf"^{said}$"):
        tables(report_params)


def test_points_by_batch_are_the_rows(workplace: Path, report_params: Params) -> None:
    figure = throughput_by_batch(load_frames(report_params))
    assert [axes.get_title() for axes in figure.axes[:3]] == ["ConvFormer-S18", "FastViT-SA24", "ConvNeXt-T"]
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["inference (clips/s)", "training (clips/s)"]
    baseline, dcls = figure.axes[2].containers
    assert list(dcls.lines[0].get_xdata()) == [1, 2, 4]
    assert dcls.lines[0].get_ydata()[-1] == float(timing_of(DCLS)["throughput"])
    assert [to_hex(one.lines[0].get_color()).upper() for one in (baseline, dcls)] == [theme.BASELINE, theme.DCLS]
    path = timed_file()
    lost = timing_of(DCLS) | {"batch": "8", "status": rows.OUT_OF_MEMORY, "throughput": ""}
    rows.upsert(path, [lost])
    figure = throughput_by_batch(load_frames(report_params))
    cross = figure.axes[2].lines[-1]
    assert cross.get_marker() == "x" and list(cross.get_xdata()) == [8]
    assert to_hex(cross.get_color()).upper() == theme.DCLS
    assert "DCLS 26 in 23x23, gauss: out of memory" in [text.get_text() for text in figure.legends[0].texts]


def test_stacked_bars_are_the_parts(workplace: Path, report_params: Params) -> None:
    figure = step_time(load_frames(report_params))
    assert figure is not None and [axes.get_title() for axes in figure.axes] == ["inference", "training"]
    bars = sorted(figure.axes[0].patches, key=lambda bar: bar.get_x())  # from the left; of one step, from below
    assert len(bars) == 6 * len(PARTS)
    first, second = bars[: len(PARTS)], bars[len(PARTS) : 2 * len(PARTS)]
    assert [bar.get_height() for bar in first] == [20.0, 1.0, 60.0, 4.0, 15.0]
    assert [bar.get_y() for bar in first] == [0.0, 20.0, 21.0, 81.0, 85.0]
    assert to_hex(first[0].get_facecolor()).upper() == theme.BASELINE
    assert to_hex(second[0].get_facecolor()).upper() == theme.DCLS
    assert [to_hex(bar.get_facecolor()).upper() for bar in second[1:]] == list(GREYS.values())
    next(paths.THROUGHPUT.glob("*.breakdown.csv")).unlink()
    assert step_time(load_frames(report_params)) is None
