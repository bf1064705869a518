"""Figures: what is drawn is what the files say, the bytes repeat, and small cases are drawn too."""

from __future__ import annotations

import csv
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from PIL import Image

from harness import __main__ as cli
from harness.base.errors import UserError
from harness.base.files import write_csv
from harness.comparison.paired import compare
from harness.config.params import Params
from harness.report.figures import theme
from harness.report.figures.by_epoch import kernel_motion, learning_curves
from harness.report.figures.classes import MOST, class_differences
from harness.report.figures.draw import draw_figures, pictures
from harness.report.figures.kernels import dense_kernels, kernel_positions
from harness.report.figures.speed import step_time, throughput_by_batch
from harness.report.figures.systems import accuracy_and_cost
from harness.report.frames import load_frames
from harness.report.tables import tables
from tests.made_up_timings import PARTS
from tests.report.conftest import BASELINE, DCLS, RESULTS, folder_of, timing_of

STAGE_1 = "stage 1\n2 bands x\n160 ms a cell"


def _columns(path: Path, *names: str) -> np.ndarray:
    with open(path, newline="") as file:
        return np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])


def test_report_and_pictures(workplace: Path, report_params: Params) -> None:
    params = report_params.model_copy(
        update={"models": (DCLS, BASELINE), "seeds": (0, 1), "linear_baseline_seeds": (0, 1)}
    )
    compare(params)
    tables(params)
    folder = RESULTS / "figures"
    folder.mkdir()
    (folder / "of_another_run.png").touch()
    draw_figures(params)
    report = (RESULTS / "report.md").read_text()
    assert report.startswith(f"# {Path('paper_tables/instruments/answer.txt').read_text().strip()}\n")
    assert all(
        Path(f"paper_tables/instruments/{one}.md").read_text().rstrip() in report for one in ("table1", "comparisons")
    )
    names = ["systems", "differences_by_epoch", "learning_curves", "class_differences", "accuracy_and_cost"]
    names += ["calibration", "throughput_by_batch", "step_time"]
    names += [*(f"{name}_{DCLS}" for name in ("positions", "motion", "kernels")), "position_gradients", "example_clips"]
    assert re.findall(r"!\[.*?\]\((.*?)\)", report) == [f"figures/{name}.png" for name in names]
    assert "not recorded" not in report
    written = {*(f"{name}.png" for name in names), "figures.json"}
    assert {path.name for path in folder.iterdir()} == written
    for name in names:
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.size[0] in (1050, 2100) and picture.info["dpi"][0] == pytest.approx(300, abs=0.1)
            assert "Software" not in picture.info
    assert report.count("160 test clips, 10 classes; reduced models, 8 epochs on CPU") == 2  # on top and in a table
    for one in json.loads((folder / "figures.json").read_text()):
        assert one["caption"] in report and len(re.findall(r"\.(?: |$)", one["caption"])) <= 2  # sentences


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_vector_formats_are_asked_for(made: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """From the numbers alone, beside the PNG files, and the report stays as it is."""
    shutil.rmtree("predictions")
    monkeypatch.setattr("harness.report.figures.draw.pictures", lambda frames: pictures(frames)[:2])
    monkeypatch.setattr("sys.argv", ["harness", "figures", "--from", str(RESULTS), "--format", suffix])
    assert cli.main() == 0
    written = sorted((RESULTS / "figures").iterdir())
    assert [path.name for path in written] == [f"differences_by_epoch.{suffix}", f"systems.{suffix}"]
    for path in written:
        if suffix == "svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg") and "dc:date" not in path.read_text()
        else:
            assert path.read_bytes().startswith(b"%PDF-") and b"CreationDate" not in path.read_bytes()
    before = [path.read_bytes() for path in written]
    assert cli.main() == 0 and [path.read_bytes() for path in written] == before
    assert not (RESULTS / "report.md").exists()


def test_figures_need_the_table(workplace: Path, report_params: Params) -> None:
    with pytest.raises(UserError, match=r"^paper_tables/instruments/comparisons.md: missing"):
        draw_figures(report_params)


@pytest.mark.parametrize("missing", ["history.csv", "positions.csv", "position_density.csv"])
def test_a_missing_file_is_named(workplace: Path, report_params: Params, missing: str) -> None:
    path = folder_of(DCLS, 1) / "training" / missing
    path.unlink()
    frames = load_frames(report_params)
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}: missing"):
        {
            "history.csv": learning_curves,
            "positions.csv": partial(kernel_motion, backbone="ConvNeXt-T"),
            "position_density.csv": partial(kernel_positions, model=DCLS),
        }[missing](frames)


def test_a_broken_file_is_named(workplace: Path, report_params: Params) -> None:
    (folder_of(DCLS, 1) / "training" / "history.csv").write_text(
        "epoch,learning_rate,train_loss,val_mAP\n1,0.1,high,0.2\n"
    )
    with pytest.raises(UserError, match=r"history.csv: line 2, column train_loss: 'high' is no number"):
        learning_curves(load_frames(report_params))


def test_the_same_results_give_the_same_bytes(workplace: Path, report_params: Params) -> None:
    frames = load_frames(report_params.model_copy(update={"models": (DCLS, BASELINE)}))
    for draw in (learning_curves, class_differences, accuracy_and_cost, partial(kernel_positions, model=DCLS)):
        for name in ("one", "two"):
            theme.save(Path(name), partial(draw, frames))
        assert Path("one.png").read_bytes() == Path("two.png").read_bytes()


def test_curves_are_the_histories_and_their_mean(workplace: Path, report_params: Params) -> None:
    figure = learning_curves(load_frames(report_params))
    assert figure is not None
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["ConvFormer-S18", "FastViT-SA24", "ConvNeXt-T"]
    histories = [_columns(folder_of(DCLS, seed) / "training" / "history.csv", "epoch", "val_mAP") for seed in (0, 1, 2)]
    values = 100 * np.array([one[:, 1] for one in histories])
    (line,) = (line for line in figure.axes[5].lines if to_hex(line.get_color()).upper() == theme.DCLS)
    np.testing.assert_allclose(line.get_ydata(), values.mean(0))
    (band,) = (one for one in figure.axes[5].collections if to_hex(one.get_facecolor()[0]).upper() == theme.DCLS)
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
    figure = kernel_positions(load_frames(report_params), DCLS)
    assert figure is not None
    axes = figure.axes[0]
    shown = np.ma.filled(axes.collections[-1].get_array(), 0).reshape(23, 23)
    assert shown[22, 11] == 25 and shown[0, 11] == 75 and np.nansum(shown) == 100  # percent, seeds together
    assert axes.get_ylim() == (0, 23) and axes.get_xlim() == (0, 23) and axes.get_ylabel() == STAGE_1
    # 23 cells of 160 ms and 2 bands
    for axis, offset in ((axes.xaxis, "1600"), (axes.yaxis, "20")):
        ticks = dict(zip(axis.get_ticklocs(), (tick.get_text() for tick in axis.get_ticklabels()), strict=True))
        assert ticks == {1.5: f"\N{MINUS SIGN}{offset}", 11.5: "0", 21.5: offset}


def test_points_are_the_numbers_and_arrows_join_the_pairs(workplace: Path, report_params: Params) -> None:
    figure = accuracy_and_cost(load_frames(report_params.model_copy(update={"models": (BASELINE, DCLS)})))
    parameters, published_speed, published_parameters = figure.axes  # reduced models have no speed
    for place, model in enumerate((BASELINE, DCLS)):
        maps = [
            100 * json.loads((folder_of(model, seed) / "evaluation" / "metrics.json").read_text())["mAP"]
            for seed in (0, 1, 2)
        ]
        point, _, bars = parameters.containers[place].lines
        assert point.get_xdata()[0] == 1.234567
        assert point.get_ydata()[0] == pytest.approx(np.mean(maps))
        ends = bars[-1].get_segments()[0][:, 1]
        assert ends == pytest.approx([np.mean(maps) - np.std(maps, ddof=1), np.mean(maps) + np.std(maps, ddof=1)])
    for axes, wanted in ((published_speed, [591.4, 509.4]), (published_parameters, [28.6, 28.6])):
        points = [container.lines[0] for container in axes.containers]
        assert [point.get_xdata()[0] for point in points] == wanted
        assert [point.get_ydata()[0] for point in points] == [44.83, 45.52]
        arrow = next(text for text in axes.texts if text.arrow_patch is not None)
        assert (arrow.xyann, arrow.xy) == ((wanted[0], 44.83), (wanted[1], 45.52))


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
    frames = load_frames(params)
    assert not theme.save(Path("classes"), partial(class_differences, frames))
    assert theme.save(Path("curves"), partial(learning_curves, frames))
    assert theme.save(Path("costs"), partial(accuracy_and_cost, frames))
    if DCLS in models:
        assert theme.save(Path("kernels"), partial(dense_kernels, frames, DCLS))
        maps = kernel_positions(frames, DCLS)
        assert maps is not None and [axes.get_title() for axes in maps.axes[:2]] == ["start", ""]  # and no paths
        assert theme.save(Path("positions"), lambda: maps)
        assert not theme.save(Path("moving"), partial(kernel_motion, frames, "ConvNeXt-T"))
        shutil.copy(
            folder_of(BASELINE, 0) / "training" / "position_density.csv",
            folder_of(DCLS, 0) / "training" / "position_density.csv",
        )
        assert not theme.save(Path("nothing"), partial(kernel_positions, load_frames(params), DCLS))
        assert not Path("nothing.png").exists()


def test_class_differences_are_the_rows_sorted(workplace: Path, report_params: Params) -> None:
    figure = class_differences(load_frames(report_params))
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["ConvFormer-S18", "FastViT-SA24", "ConvNeXt-T"]
    with open(RESULTS / "per_class_difference.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == DCLS]
    rows.sort(key=lambda row: -float(row["difference"]))
    axes = figure.axes[2]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [row["label"] for row in rows]
    points = [(y, x) for _, _, places in _points(axes) for x, y in places]
    assert sorted(points) == [(place, 100 * float(row["difference"])) for place, row in enumerate(rows)]
    bars = [bar for one in axes.collections if isinstance(one, LineCollection) for bar in one.get_segments()]
    bars.sort(key=lambda bar: bar[0, 1])
    for place, (bar, row) in enumerate(zip(bars, rows, strict=True)):
        np.testing.assert_array_equal(bar, [(100 * float(row[name]), place) for name in ("low", "high")])
    assert axes.yaxis_inverted()  # the best class is on top


def _points(axes: Axes) -> list[tuple[str, str, np.ndarray]]:
    """Colour of the edge, whether it is a filled square, a filled circle or a ring, and the places, of each outcome."""
    found = []
    for one in axes.collections:
        if isinstance(one, PathCollection):
            shape = "square" if len(one.get_paths()[0].vertices) == 5 else "circle"
            shape = "ring" if to_hex(one.get_facecolor()[0]) == "#ffffff" else shape
            found.append((to_hex(one.get_edgecolor()[0]).upper(), shape, np.asarray(one.get_offsets())))
    return found


def _class_rows(count: int) -> None:
    """Differences 0, 1, 2, ... points; of the intervals one is above 0, one below 0, one missing."""
    rows = [(DCLS, BASELINE, f"class {n}", 9, 0.1, 0.1, n / 100, -1, 1) for n in range(count)]
    rows[0] = (*rows[0][:7], -0.2, -0.1)
    rows[1] = (*rows[1][:7], "", "")
    rows[-1] = (*rows[-1][:7], 0.1, 0.9)
    header = ("model", "baseline", "label", "positives", "AP_baseline", "AP", "difference", "low", "high")
    write_csv(RESULTS / "per_class_difference.csv", header, rows)


def test_of_many_classes_the_two_ends_are_shown_and_the_others_counted(workplace: Path, report_params: Params) -> None:
    params = report_params.model_copy(update={"models": (BASELINE, DCLS)})
    _class_rows(527)
    figure = class_differences(load_frames(params))
    assert figure is not None
    axes = figure.axes[0]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert len(names) == MOST + 1 and names[MOST // 2] == f"... {527 - MOST} between ..."
    assert (names[0], names[-1]) == ("class 526", "class 0")
    assert axes.get_xlabel() == "1 above 0, 1 below\nof 527 classes"
    looks = {tuple(place): (colour, shape) for colour, shape, places in _points(axes) for place in places}
    assert len(looks) == MOST
    assert looks[526, 0] == (theme.DCLS, "circle") and looks[0, MOST] == (theme.BASELINE, "square")
    assert looks[1, MOST - 1] == (theme.GREY, "ring")


def test_class_differences_of_other_runs_are_refused(workplace: Path, report_params: Params) -> None:
    _class_rows(10)
    with pytest.raises(UserError, match=r"per_class_difference.csv: no row of convformer_dcls.*`compare-models`"):
        class_differences(load_frames(report_params))
    (RESULTS / "per_class_difference.csv").write_text("model\nx\n" + f"{DCLS}\n")
    with pytest.raises(UserError, match=r"per_class_difference.csv: no column 'baseline'; delete it"):
        class_differences(load_frames(report_params))


def test_nothing_trained_here_has_no_learning_curves(workplace: Path, report_params: Params, unsaved: None) -> None:
    """Published weights: a history of no rows; beside models that were trained they are left out."""
    params = report_params.model_copy(update={"models": (BASELINE, DCLS)})
    for model, drawn in ((DCLS, True), (BASELINE, False)):
        for seed in params.seeds:
            folder = folder_of(model, seed) / "training"
            (folder / "history.csv").write_text("epoch,learning_rate,train_loss,val_mAP,samples_per_s\n")
            record = json.loads((folder / "run.json").read_text())
            record["parameters"]["model"]["start"] = "published"
            record["parameters"]["schedule"]["epochs"] = 0
            record["start"] = {"source": "elsewhere", "sha256": "a" * 64}
            (folder / "run.json").write_text(json.dumps(record))
        assert theme.save(Path("curves"), partial(learning_curves, load_frames(params))) == drawn
    compare(params)
    tables(params)
    draw_figures(params)
    maps = kernel_positions(load_frames(params), DCLS)
    assert maps is not None and maps.axes[0].get_title() == "published"
    assert "Learning curves" not in (RESULTS / "report.md").read_text()


def test_folds_are_called_folds(folds: Path, fold_params: Params) -> None:
    params = fold_params.model_copy(update={"models": (BASELINE,)})
    tables(params)
    draw_figures(params)
    page = Path("results/esc10/report.md").read_text()
    assert "160 test clips in 5 folds of 32, 10 classes" in page and "over folds" in page
    curves = learning_curves(load_frames(params))
    assert curves is not None and "mean and range over folds" in page


def test_speeds_and_parts_of_a_step_are_those_measured(workplace: Path, report_params: Params) -> None:
    frames = load_frames(report_params.model_copy(update={"models": (BASELINE, DCLS)}))
    panels = throughput_by_batch(frames).axes
    assert [axes.get_title() for axes in panels] == ["ConvNeXt-T", ""]
    for place, model in enumerate((BASELINE, DCLS)):
        point, _, bars = panels[0].containers[place].lines
        row = timing_of(model)
        assert point.get_xdata().tolist() == [1, 2, 4] and point.get_ydata()[-1] == float(row["throughput"])
        ends = [float(row["throughput_low"]), float(row["throughput_high"])]
        np.testing.assert_allclose(bars[0].get_segments()[-1][:, 1], ends)
    steps = step_time(frames)
    assert steps is not None and [axes.get_title() for axes in steps.axes] == ["inference", "training"]
    heights = [bar.get_height() for bar in steps.axes[0].containers[0]]
    assert heights == [PARTS[part] for part in ("depthwise", "stem", "pointwise", "attention", "rest")]
    assert {text.get_text() for text in steps.axes[0].texts} == {"20%"}
