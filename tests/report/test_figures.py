"""Figures: what is drawn is what the files say, the bytes repeat, and small cases are drawn too."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from harness.base.errors import UserError
from harness.base.files import write_csv
from harness.comparison.paired import compare
from harness.config.params import Params
from harness.report import style
from harness.report.class_differences import ABOVE, BELOW, MOST, class_differences
from harness.report.element_paths import element_paths
from harness.report.figures import figures
from harness.report.kernel_motion import kernel_motion
from harness.report.kernel_pictures import kernel_pictures
from harness.report.learning_curves import learning_curves
from harness.report.load import load_results
from harness.report.position_animation import position_animation
from harness.report.position_maps import position_maps
from harness.report.speed_and_map import map_against_throughput
from harness.report.tables import tables
from tests.report.conftest import BASELINE, DCLS, RESULTS, folder_of, timing_of


def _columns(path: Path, *names: str) -> np.ndarray:
    with open(path, newline="") as file:
        return np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])


def test_page_and_pictures(workplace: Path, report_params: Params) -> None:
    params = report_params.model_copy(
        update={"models": (DCLS, BASELINE), "seeds": (0, 1), "linear_baseline_seeds": (0, 1)}
    )
    compare(params)
    tables(params)
    figures(params)
    page = (RESULTS / "report.md").read_text()
    assert page.startswith(Path("paper_tables/instruments/table1.md").read_text().rstrip())
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    names = ["learning_curves", "class_differences", "map_against_throughput", "map_against_parameters", "calibration"]
    names += ["throughput_by_batch", "step_time"]
    names += [f"{name}_{DCLS}" for name in ("positions", "paths", "motion", "kernels", "examples")]
    assert [Path(one).stem for one in pictures] == names and "not recorded" not in page
    for one in pictures:
        with Image.open(RESULTS / one) as picture:
            assert picture.size[0] in (1050, 2100) and picture.info["dpi"][0] == pytest.approx(300, abs=0.1)
            assert "Software" not in picture.info
        vector = (RESULTS / one).with_suffix(".svg")
        assert ElementTree.parse(vector).getroot().tag.endswith("svg")
        assert "dc:date" not in vector.read_text()
    with Image.open(RESULTS / "figures" / f"positions_{DCLS}.gif") as moving:
        assert moving.n_frames == 5 and f"positions_{DCLS}.gif" in page
    assert (RESULTS / "figures" / f"positions_{DCLS}.gif").stat().st_size < 2_000_000
    assert page.count("160 test clips, 10 classes; reduced models, 8 epochs on CPU") == len(pictures)


def test_figures_need_the_table(workplace: Path, report_params: Params) -> None:
    with pytest.raises(UserError, match=r"^paper_tables/instruments/table1.md: missing"):
        figures(report_params)


@pytest.mark.parametrize("missing", ["history.csv", "positions.csv", "position_density.csv"])
def test_a_missing_file_is_named(workplace: Path, report_params: Params, missing: str) -> None:
    path = folder_of(DCLS, 1) / "training" / missing
    path.unlink()
    results = load_results(report_params)
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}: missing"):
        {
            "history.csv": learning_curves,
            "positions.csv": partial(kernel_motion, model=DCLS),
            "position_density.csv": partial(position_maps, model=DCLS),
        }[missing](results)


def test_a_broken_file_is_named(workplace: Path, report_params: Params) -> None:
    (folder_of(DCLS, 1) / "training" / "history.csv").write_text(
        "epoch,learning_rate,train_loss,val_mAP\n1,0.1,high,0.2\n"
    )
    with pytest.raises(UserError, match=r"history.csv: could not convert string to float: 'high'"):
        learning_curves(load_results(report_params))


def test_the_same_results_give_the_same_bytes(workplace: Path, report_params: Params) -> None:
    results = load_results(report_params.model_copy(update={"models": (DCLS, BASELINE)}))
    for figure in (learning_curves, class_differences, map_against_throughput, partial(position_maps, model=DCLS)):
        for name in ("one", "two"):
            style.draw(Path(name), partial(figure, results))
        assert Path("one.png").read_bytes() == Path("two.png").read_bytes()
        assert Path("one.svg").read_bytes() == Path("two.svg").read_bytes()


def test_the_last_bit_of_a_place_changes_no_byte(tmp_path: Path) -> None:
    left = 0.1
    for name in ("one", "two"):
        figure = Figure()
        for place in (left, 0.6):
            figure.add_axes((place, 0.1, 0.3, 0.8)).plot([1, 2])
        style.draw(tmp_path / name, lambda figure=figure: figure)  # type: ignore[misc]
        left = math.nextafter(left, 1)
    said = (tmp_path / "one.svg").read_text()
    assert said == (tmp_path / "two.svg").read_text()
    assert (
        set(re.findall(r"url\(#(\w+)\)", said)) == set(re.findall(r'<clipPath id="(\w+)"', said)) == {"clip1", "clip2"}
    )


def test_curves_are_the_histories_and_their_mean(workplace: Path, report_params: Params) -> None:
    figure = learning_curves(load_results(report_params))
    assert figure is not None
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["ConvFormer-S18", "FastViT-SA24", "ConvNeXt-T"]
    histories = [_columns(folder_of(DCLS, seed) / "training" / "history.csv", "epoch", "val_mAP") for seed in (0, 1, 2)]
    values = 100 * np.array([one[:, 1] for one in histories])
    (line,) = (line for line in figure.axes[5].lines if line.get_color() == style.DCLS)
    np.testing.assert_allclose(line.get_ydata(), values.mean(0))
    (band,) = (one for one in figure.axes[5].collections if to_hex(one.get_facecolor()[0]).upper() == style.DCLS)
    corners = band.get_paths()[0].vertices
    for epoch, low, high in zip(histories[0][:, 0], values.min(0), values.max(0), strict=True):
        heights = corners[corners[:, 0] == epoch, 1]
        assert (heights.min(), heights.max()) == pytest.approx((low, high))


def test_heat_maps_have_frequency_upwards_and_time_rightwards(workplace: Path, report_params: Params) -> None:
    """All elements in the cell of the highest frequency offset and the middle of time."""
    for seed in report_params.seeds:
        write_csv(
            folder_of(DCLS, seed) / "training" / "position_density.csv",
            ("epoch", "stage", "row", "column", "count"),
            [(0, 1, 22, 11, 5), (0, 1, 0, 11, 15)],
        )
    figure = position_maps(load_results(report_params), DCLS)
    assert figure is not None
    axes = figure.axes[0]
    image = axes.images[0]
    shown = np.ma.filled(image.get_array(), 0)
    # 23 cells of 160 ms and 2 bands
    assert image.origin == "lower" and image.get_extent() == [-1840, 1840, -23, 23]
    assert shown[22, 11] == 25 and shown[0, 11] == 75 and shown.sum() == 100  # percent, seeds together
    assert axes.get_ylim() == (-23, 23) and axes.get_ylabel() == "stage 1\n2 bands x\n160 ms a cell"


def test_points_are_the_numbers_and_arrows_join_the_pairs(workplace: Path, report_params: Params) -> None:
    figure = map_against_throughput(load_results(report_params.model_copy(update={"models": (BASELINE, DCLS)})))
    here, paper = figure.axes
    for place, model in enumerate((BASELINE, DCLS)):
        maps = [
            100 * json.loads((folder_of(model, seed) / "evaluation" / "metrics.json").read_text())["mAP"]
            for seed in (0, 1, 2)
        ]
        point = here.containers[place].lines[0]
        assert point.get_xdata()[0] == float(timing_of(model)["throughput"])
        assert point.get_ydata()[0] == pytest.approx(np.mean(maps))
    assert [container.lines[0].get_ydata()[0] for container in paper.containers] == [44.83, 45.52]
    arrow = next(text for text in paper.texts if text.arrow_patch is not None)
    assert (arrow.xyann, arrow.xy) == ((591.4, 44.83), (509.4, 45.52))


@pytest.mark.parametrize("models", [(DCLS,), (BASELINE,), (DCLS, "fastvit_audio_sa24")])
def test_one_seed_one_epoch_and_missing_partners(
    workplace: Path, report_params: Params, models: tuple[str, ...]
) -> None:
    for model in models:
        folder = folder_of(model, 0) / "training"
        first = [line for line in (folder / "history.csv").read_text().splitlines()[:2]]
        (folder / "history.csv").write_text("\n".join(first) + "\n")
        for name in ("positions.csv", "position_density.csv", "trajectories.csv", "kernels.csv"):
            lines = (folder / name).read_text().splitlines()
            (folder / name).write_text("\n".join([lines[0], *(one for one in lines[1:] if one[0] == "0")]) + "\n")
    params = report_params.model_copy(update={"models": models, "seeds": (0,), "linear_baseline_seeds": (0,)})
    compare(params)
    results = load_results(params)
    assert not style.draw(Path("classes"), partial(class_differences, results))
    style.draw(Path("curves"), partial(learning_curves, results))
    style.draw(Path("speed"), partial(map_against_throughput, results))
    if DCLS in models:
        assert style.draw(Path("positions"), partial(position_maps, results, DCLS))
        assert style.draw(Path("kernels"), partial(kernel_pictures, results, DCLS))
        for moving in (element_paths, kernel_motion):
            assert not style.draw(Path("moving"), partial(moving, results, DCLS))
        assert not style.animate(Path("moving"), partial(position_animation, results, DCLS))
    shutil.copy(
        folder_of(BASELINE, 0) / "training" / "position_density.csv",
        folder_of(DCLS, 0) / "training" / "position_density.csv",
    )
    assert (
        not style.draw(Path("nothing"), lambda: position_maps(results, models[0])) and not Path("nothing.png").exists()
    )


def test_class_differences_are_the_rows_sorted(workplace: Path, report_params: Params) -> None:
    figure = class_differences(load_results(report_params))
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["ConvFormer-S18", "FastViT-SA24", "ConvNeXt-T"]
    with open(RESULTS / "per_class_difference.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == DCLS]
    rows.sort(key=lambda row: -float(row["difference"]))
    axes = figure.axes[2]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [row["label"] for row in rows]
    points = [line for line in axes.lines if line.get_marker() in ("o", "s")]
    assert [line.get_xdata()[0] for line in points] == [100 * float(row["difference"]) for row in rows]
    bars = [line for line in axes.lines if line.get_marker() == "None" and len(set(line.get_ydata())) == 1]
    for bar, row in zip(bars, rows, strict=True):
        np.testing.assert_array_equal(bar.get_xdata(), [100 * float(row["low"]), 100 * float(row["high"])])
    assert axes.yaxis_inverted()  # the best class is on top


def _class_rows(count: int) -> None:
    """Differences 0, 1, 2, ... points; of the intervals one is above 0, one below 0, one missing."""
    rows = [(DCLS, BASELINE, f"class {n}", 9, 0.1, 0.1, n / 100, -1, 1) for n in range(count)]
    rows[0] = (*rows[0][:7], -0.2, -0.1)
    rows[1] = (*rows[1][:7], "", "")
    rows[-1] = (*rows[-1][:7], 0.1, 0.9)
    header = ("model", "baseline", "label", "positives", "AP_baseline", "AP_dcls", "difference", "low", "high")
    write_csv(RESULTS / "per_class_difference.csv", header, rows)


def test_of_many_classes_the_two_ends_are_shown_and_the_others_counted(workplace: Path, report_params: Params) -> None:
    params = report_params.model_copy(update={"models": (BASELINE, DCLS)})
    _class_rows(527)
    figure = class_differences(load_results(params))
    assert figure is not None
    axes = figure.axes[0]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert len(names) == MOST + 1 and names[MOST // 2] == f"... {527 - MOST} between ..."
    assert (names[0], names[-1]) == ("class 526", "class 0")
    assert axes.get_xlabel() == "1 above 0, 1 below\nof 527 classes"
    points = {line.get_xdata()[0]: line for line in axes.lines if line.get_marker() in ("o", "s")}
    assert len(points) == MOST
    looks = {name: (points[x].get_color(), points[x].get_marker()) for name, x in ((ABOVE, 526), (BELOW, 0))}
    assert looks == {ABOVE: (style.DCLS, "o"), BELOW: (style.BASELINE, "s")}


def test_class_differences_of_other_runs_are_refused(workplace: Path, report_params: Params) -> None:
    _class_rows(10)
    with pytest.raises(UserError, match=r"per_class_difference.csv: no row of convformer_dcls.*`compare-models`"):
        class_differences(load_results(report_params))
    (RESULTS / "per_class_difference.csv").write_text("model\nx\n" + f"{DCLS}\n")
    with pytest.raises(UserError, match=r"per_class_difference.csv: 'difference'; delete it"):
        class_differences(load_results(report_params))


def test_nothing_trained_here_has_no_learning_curves(workplace: Path, report_params: Params, unsaved: None) -> None:
    """Published weights: a history of no rows; beside models that were trained they are left out."""
    params = report_params.model_copy(update={"models": (BASELINE, DCLS)})
    for model, drawn in ((DCLS, True), (BASELINE, False)):
        for seed in params.seeds:
            folder = folder_of(model, seed) / "training"
            (folder / "history.csv").write_text("epoch,learning_rate,train_loss,val_mAP,samples_per_s\n")
            record = json.loads((folder / "run.json").read_text())
            record["parameters"]["model"] |= {"start": "published", "epochs": 0}
            record["start"] = {"source": "elsewhere", "sha256": "a" * 64}
            (folder / "run.json").write_text(json.dumps(record))
        assert style.draw(Path("curves"), partial(learning_curves, load_results(params))) == drawn
    compare(params)
    tables(params)
    figures(params)
    maps = position_maps(load_results(params), DCLS)
    assert maps is not None and maps.axes[0].get_title() == "published"
    assert "Learning curves" not in (RESULTS / "report.md").read_text()


def test_folds_are_called_folds(folds: Path, fold_params: Params) -> None:
    params = fold_params.model_copy(update={"models": (BASELINE,)})
    tables(params)
    figures(params)
    page = Path("results/esc10/report.md").read_text()
    assert "160 test clips in 5 folds of 32, 10 classes" in page and "standard deviation over folds" in page
    assert "mean of 5 folds" in Path("results/esc10/figures/learning_curves.svg").read_text()
