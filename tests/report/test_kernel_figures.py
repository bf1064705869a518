"""Figures of what runs recorded of their kernels, scores and clips: what is drawn is what the files say."""

from __future__ import annotations

import base64
import contextlib
import csv
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from harness import __main__ as cli
from harness.base.errors import UserError
from harness.base.files import write_csv
from harness.comparison.paired import compare
from harness.config.params import Params
from harness.config.systems import LINEAR_BASELINE
from harness.report import style
from harness.report.element_paths import element_paths
from harness.report.example_clips import example_clips
from harness.report.figures import figures, not_recorded
from harness.report.kernel_motion import LEVELS, kernel_motion
from harness.report.kernel_pictures import kernel_pictures
from harness.report.load import Results, load_results
from harness.report.parameters_and_map import map_against_parameters
from harness.report.position_animation import position_animation
from harness.report.position_maps import position_maps
from harness.report.reliability import FEWEST, reliability
from harness.report.selection import selection_in
from harness.report.tables import tables
from tests.conftest import ROOT
from tests.report.conftest import BASELINE, DCLS, RESULTS, folder_of

CELLS = {1: (2, 160), 2: (4, 320), 3: (8, 640), 4: (16, 1280)}  # mel bands and ms by stage


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture
def results(workplace: Path, report_params: Params) -> Results:
    return load_results(report_params.model_copy(update={"models": (BASELINE, DCLS)}))


def test_motion_is_the_mean_of_the_seeds_quantiles(results: Results) -> None:
    figure = kernel_motion(results, DCLS)
    assert figure is not None
    panels = np.array(figure.axes).reshape(4, 4)
    files = [rows_of(folder_of(DCLS, seed) / "training" / "positions.csv") for seed in (0, 1, 2)]
    for row, (name, factor) in enumerate({"displacement": 1, "spread": 1, "support": 100, "at_border": 100}.items()):
        columns = [name] if name == "at_border" else [f"{name}_{level}" for level in LEVELS]
        for stage in CELLS:
            axes = panels[row, stage - 1]
            chosen = [[one for one in file if int(one["stage"]) == stage] for file in files]
            values = factor * np.mean(
                [[[float(each[column]) for column in columns] for each in one] for one in chosen], axis=0
            )
            (line,) = axes.lines
            assert list(line.get_xdata()) == [0, 1, 2, 4, 8]
            np.testing.assert_allclose(line.get_ydata(), values[:, len(columns) // 2])
            assert len(axes.collections) == (2 if len(columns) > 1 else 0)
            if axes.collections:
                corners = axes.collections[0].get_paths()[0].vertices[:, 1]
                assert (corners.min(), corners.max()) == pytest.approx((values[:, 0].min(), values[:, 4].max()))
                assert axes.get_ylim()[1] > values.max()


def test_paths_are_the_trajectories_in_bands_and_milliseconds(results: Results) -> None:
    figure = element_paths(results, DCLS)
    assert figure is not None and len(figure.axes) == 4
    rows = rows_of(folder_of(DCLS, 0) / "training" / "trajectories.csv")
    for stage, (bands, milliseconds) in CELLS.items():
        lines = [line for line in figure.axes[stage - 1].lines if len(line.get_xdata()) == 5]
        assert len(lines) == 24
        element = rows[[row["stage"] for row in rows].index(str(stage))]["element"]
        mine = [row for row in rows if (row["stage"], row["element"]) == (str(stage), element)]
        np.testing.assert_allclose(lines[0].get_xdata(), [float(row["column"]) * milliseconds for row in mine])
        np.testing.assert_allclose(lines[0].get_ydata(), [float(row["row"]) * bands for row in mine])
        limits = figure.axes[stage - 1].get_ylim()
        assert all(limits[0] < y < limits[1] for line in lines for y in line.get_ydata())


def test_kernels_are_those_written_frequency_upwards(results: Results) -> None:
    figure = kernel_pictures(results, DCLS)
    assert figure is not None
    panels = [axes for axes in figure.axes if axes.images]
    rows = rows_of(folder_of(DCLS, 0) / "training" / "kernels.csv")
    assert len(panels) == len(rows) == 24
    titles = [axes.get_title() for axes in panels[:6]]
    assert titles == [f"ch. {c}, {when}" for c in (0, 11, 22) for when in ("start", "epoch 8")]
    for row, axes in ((rows[0], panels[0]), (rows[12], panels[1]), (rows[3], panels[6])):
        values = np.array(row["values"].split(), float).reshape(23, 23) * float(row["largest"]) / 999
        np.testing.assert_allclose(axes.images[0].get_array(), values)
        assert axes.images[0].origin == "lower" and axes.images[0].get_clim() == pytest.approx(
            (-float(row["largest"]), float(row["largest"]))
        )


def test_the_animation_has_a_frame_an_epoch(results: Results) -> None:
    frames = position_animation(results, DCLS)
    assert [frame.get_suptitle() for frame in frames] == ["start", "epoch 1", "epoch 2", "epoch 4", "epoch 8"]
    rows = [
        row
        for row in rows_of(folder_of(DCLS, 0) / "training" / "trajectories.csv")
        if (row["epoch"], row["stage"]) == ("4", "2")
    ]
    (dots,) = frames[3].axes[1].lines
    np.testing.assert_allclose(dots.get_ydata(), [4 * float(row["row"]) for row in rows])


def test_calibration_pools_the_seeds(results: Results) -> None:
    """Three bins: of few pairs, not drawn; of 100, 200 and 300 pairs in the seeds; of no positive, below the axis."""
    for seed in (0, 1, 2):
        bins = [
            (0.1, 0.2, FEWEST // 3 - 1, 0.15, 0.5),
            (0.2, 0.3, 100 * (seed + 1), 0.2 + 0.03 * seed, 0.3 - 0.1 * seed),
            (0.3, 0.4, 400, 0.35, 0.0),
            (0.4, 0.5, 0, "", ""),
        ]
        write_csv(
            folder_of(DCLS, seed) / "evaluation" / "calibration.csv",
            ("low", "high", "count", "mean_predicted", "observed"),
            bins,
        )
    figure = reliability(results)
    assert figure is not None
    (line,) = (line for line in figure.axes[0].lines if line.get_color() == style.DCLS)
    score = (100 * 0.2 + 200 * 0.23 + 300 * 0.26) / 600
    share = (100 * 0.3 + 200 * 0.2 + 300 * 0.1) / 600
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == (pytest.approx([score]), pytest.approx([share]))
    few = 3 * (FEWEST // 3 - 1)
    error = (few * 0.35 + 600 * abs(score - share) + 1200 * 0.35) / (few + 600 + 1200)
    assert line.get_label() == f"DCLS, error {100 * error:.1f} %"
    assert {line.get_label().partition(",")[0] for line in figure.axes[0].lines} == {
        "as it should be",
        "linear baseline",
        "baseline",
        "DCLS",
    }


def test_examples_show_the_scores_and_fill_what_is_there(results: Results) -> None:
    figure = example_clips(results, DCLS)
    assert figure is not None
    clips = json.loads((RESULTS / "examples" / "examples.json").read_text())["clips"]
    panels = np.array(figure.axes).reshape(len(clips), 3)
    for row, clip in zip(panels, clips, strict=True):
        assert row[0].get_title() == ", ".join(clip["labels"])
        steps = np.frombuffer(base64.b64decode(clip["log_mel"]["values"]), np.uint8)
        np.testing.assert_array_equal(row[0].images[0].get_array().ravel(), steps)
        for axes, model in zip(row[1:], (BASELINE, DCLS), strict=True):
            shown = clip["predictions"][model][:4]
            assert [bar.get_width() for bar in axes.patches] == [one["score"] for one in shown]
            assert [tick.get_text() for tick in axes.get_yticklabels()] == [one["label"] for one in shown]
            filled = [to_hex(bar.get_facecolor()) != "#ffffff" for bar in axes.patches]
            assert filled == [one["label"] in clip["labels"] for one in shown]
            assert {to_hex(bar.get_edgecolor()).upper() for bar in axes.patches} == {style.colour(model)}


def test_parameters_are_those_trained_and_those_published(results: Results) -> None:
    figure = map_against_parameters(results)
    here, paper = figure.axes
    points = [[line.lines[0].get_xdata()[0] for line in axes.containers] for axes in (here, paper)]
    assert points == [[1.234567, 1.234567], [28.6, 28.6]]
    assert [line.lines[0].get_ydata()[0] for line in paper.containers] == [44.83, 45.52]


def make_old(folder: Path) -> None:
    """Take away what runs before this code did not record."""
    shutil.rmtree(RESULTS / "examples")
    for path in folder.glob("*/"):
        for name in ("trajectories.csv", "kernels.csv", "calibration.csv"):
            (path / name).unlink(missing_ok=True)
        positions = path / "positions.csv"
        if positions.exists():
            cells = [line.split(",")[:7] for line in positions.read_text().splitlines()]
            positions.write_text("\n".join(map(",".join, cells)) + "\n")


def test_old_results_are_drawn_without_what_they_lack(workplace: Path, report_params: Params, unsaved: None) -> None:
    params = report_params.model_copy(update={"models": (DCLS, BASELINE)})
    compare(params)
    tables(params)
    make_old(RESULTS / "runs")
    figures(params)
    page = (RESULTS / "report.md").read_text()
    lacking = "paths of elements, dense kernels, calibration, example clips"
    assert page.endswith(f"Left out, as not recorded by this run: {lacking}.\n")
    assert f"motion_{DCLS}.png" in page and "quantiles and more: not recorded by this run" in page
    for name in (f"paths_{DCLS}", f"kernels_{DCLS}", "calibration", f"examples_{DCLS}"):
        assert f"{name}.png" not in page
    old = kernel_motion(load_results(params), DCLS)
    assert old is not None and len(old.axes) == 8  # displacement and spread by stage
    assert list(old.axes[0].lines[0].get_xdata()) == [0, 1, 2, 4, 8] and not old.axes[0].collections


@pytest.mark.parametrize("preset", ["esc10", "instruments"])
def test_committed_results_can_be_drawn(preset: str) -> None:
    with contextlib.chdir(ROOT):
        results = load_results(selection_in(Path("results") / preset))
        model = next(iter(results.compared))
        assert position_maps(results, model) is not None and kernel_motion(results, model) is not None
        pictures = [element_paths(results, model), kernel_pictures(results, model), reliability(results)]
        pictures.append(example_clips(results, model))
        assert [one is None for one in pictures].count(True) == len(not_recorded(results))


def test_from_a_folder_needs_no_parameters_and_no_predictions(
    made: Path, report_params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(report_params.model_copy(update={"models": (DCLS, BASELINE), "seeds": (1, 2)}))
    shutil.rmtree("predictions")
    drawn: list[Results] = []
    monkeypatch.setattr("harness.report.figures._drawn", lambda results: drawn.append(results) or iter(()))
    monkeypatch.setattr("sys.argv", ["harness", "figures", "--from", "results/instruments/"])
    assert not Path("params.yaml").exists() and cli.main() == 0
    assert (drawn[0].models, drawn[0].seeds) == ((BASELINE, DCLS), (1, 2))
    assert [run.seed for run in drawn[0].linear] == [0, 1, 2] and drawn[0].linear[0].model == LINEAR_BASELINE
    for folder, message in ((".", "is not a preset's folder"), ("results/other", "comparison.run.json: missing")):
        monkeypatch.setattr("sys.argv", ["harness", "figures", "--from", folder])
        assert cli.main() == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "figure", "message"),
    [
        ("training/trajectories.csv", "epoch,stage\n0,1\n", element_paths, "no column"),
        (
            "trajectories.csv",
            "epoch,stage,element,row,column\n0,1,1,0,0\n1,1,1,0,0\n0,1,2,0,0\n",
            element_paths,
            "lacks",
        ),
        (
            "training/kernels.csv",
            "epoch,stage,channel,largest,values\n0,1,0,1,1 2 3\n",
            kernel_pictures,
            "cannot reshape",
        ),
        ("evaluation/calibration.csv", "low,high\n0,1\n", lambda results, _: reliability(results), "'count'"),
        ("../../examples/examples.json", '{"clips": [{}]}', example_clips, "run `examples` again"),
    ],
)
def test_broken_files_are_named(results: Results, name: str, content: str, figure: object, message: str) -> None:
    path = folder_of(DCLS, 0) / name
    path.write_text(content)
    with pytest.raises(UserError, match=rf"{path.name}: .*{message}"):
        partial(figure, results, DCLS)()  # type: ignore[arg-type]
