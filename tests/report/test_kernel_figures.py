"""Figures of what runs recorded of their kernels, scores and clips: what is drawn is what the files say."""

from __future__ import annotations

import base64
import contextlib
import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from harness import __main__ as cli
from harness.base.errors import UserError
from harness.base.files import write_csv
from harness.comparison.paired import compare
from harness.config.params import Params
from harness.report.figures import theme
from harness.report.figures.by_epoch import QUANTITIES, kernel_motion, position_gradients
from harness.report.figures.classes import FEWEST, calibration
from harness.report.figures.draw import draw_figures, not_recorded, pictures
from harness.report.figures.example_clips import SHOWN, example_clips
from harness.report.figures.kernels import dense_kernels, kernel_positions
from harness.report.frames import Frames, load_frames
from harness.report.selection import selection_in
from harness.report.tables import tables
from tests.report.conftest import BASELINE, DCLS, RESULTS, folder_of

INCOMPLETE = "epoch,stage,element,channel,row,column\n0,1,1,0,0,0\n1,1,1,0,0,0\n0,1,2,0,0,0\n"
CELLS = {1: (2, 160), 2: (4, 320), 3: (8, 640), 4: (16, 1280)}  # mel bands and ms by stage


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture
def frames(workplace: Path, report_params: Params) -> Frames:
    return load_frames(report_params.model_copy(update={"models": (BASELINE, DCLS)}))


def test_motion_is_the_mean_of_the_seeds_quantiles(frames: Frames) -> None:
    figure = kernel_motion(frames, "ConvNeXt-T")
    assert figure is not None
    panels = np.array(figure.axes).reshape(4, 4)
    files = [rows_of(folder_of(DCLS, seed) / "training" / "positions.csv") for seed in (0, 1, 2)]
    for row, (name, (factor, _)) in zip(panels, QUANTITIES.items(), strict=True):
        columns = [name] * 3 if name == "moved" else [f"{name}_{level}" for level in ("q50", "q25", "q75")]
        for stage in CELLS:
            chosen = [[one for one in file if int(one["stage"]) == stage] for file in files]
            values = factor * np.mean(
                [[[float(each[column]) for column in columns] for each in one] for one in chosen], axis=0
            )
            (line,), (band,) = row[stage - 1].lines, row[stage - 1].collections
            assert list(line.get_xdata()) == [0, 1, 2, 4, 8]
            np.testing.assert_allclose(line.get_ydata(), values[:, 0])
            corners = band.get_paths()[0].vertices[:, 1]
            assert (corners.min(), corners.max()) == pytest.approx((values[:, 1].min(), values[:, 2].max()))
            assert row[stage - 1].get_ylim()[1] > values.max()


def test_gradients_are_the_mean_of_the_seeds(frames: Frames) -> None:
    figure = position_gradients(frames)
    assert figure is not None
    files = [rows_of(folder_of(DCLS, seed) / "training" / "positions.csv") for seed in (0, 1, 2)]
    for stage, line in enumerate(figure.axes[0].lines, 1):
        found = [
            [float(one["gradient"]) for one in file if one["stage"] == str(stage) and one["gradient"]] for file in files
        ]
        assert list(line.get_xdata()) == [1, 2, 4, 8] and figure.axes[0].get_yscale() == "log"
        np.testing.assert_allclose(line.get_ydata(), np.mean(found, axis=0))


def test_paths_are_the_trajectories_in_bands_and_milliseconds(frames: Frames) -> None:
    figure = kernel_positions(frames, DCLS)
    assert figure is not None
    panels = np.array(figure.axes[:12]).reshape(4, 3)
    assert [axes.get_title() for axes in panels[0]] == ["start", "epoch 8", "paths of a sample"]
    rows = rows_of(folder_of(DCLS, 0) / "training" / "trajectories.csv")
    for stage, (bands, milliseconds) in CELLS.items():
        axes = panels[stage - 1, 2]
        lines = [line for line in axes.lines if len(line.get_xdata()) == 5]
        assert len(lines) == 24
        element = rows[[row["stage"] for row in rows].index(str(stage))]["element"]
        mine = [row for row in rows if (row["stage"], row["element"]) == (str(stage), element)]
        np.testing.assert_allclose(lines[0].get_xdata(), [float(row["column"]) * milliseconds for row in mine])
        np.testing.assert_allclose(lines[0].get_ydata(), [float(row["row"]) * bands for row in mine])
        limits = axes.get_ylim()
        assert all(limits[0] < y < limits[1] for line in lines for y in line.get_ydata())
        starts, ends = (np.asarray(points.get_offsets()) for points in axes.collections)
        np.testing.assert_allclose(starts, [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines])
        np.testing.assert_allclose(ends, [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in lines])


def test_kernels_are_those_written_frequency_upwards(frames: Frames) -> None:
    figure = dense_kernels(frames, DCLS)
    assert figure is not None
    panels = [axes for axes in figure.axes if axes.get_title()]
    rows = rows_of(folder_of(DCLS, 0) / "training" / "kernels.csv")
    assert len(panels) == len(rows) == 24
    titles = [axes.get_title() for axes in panels[:6]]
    assert titles == [f"ch. {c}, {when}" for c in (0, 11, 22) for when in ("start", "epoch 8")]
    for row, axes in ((rows[0], panels[0]), (rows[12], panels[1]), (rows[3], panels[6])):
        values = np.array(row["values"].split(), float).reshape(23, 23) * float(row["largest"]) / 999
        cells = axes.collections[-1]
        shown = cells.get_array()
        edge = (23 - len(shown)) // 2
        np.testing.assert_allclose(shown, values[edge : 23 - edge, edge : 23 - edge])
        assert np.abs(values).sum() == pytest.approx(np.abs(shown).sum(), rel=0.02)  # what is cut off is nearly 0
        assert axes.get_ylim()[0] < axes.get_ylim()[1]
        assert cells.get_clim() == pytest.approx((-float(row["largest"]), float(row["largest"])))


def test_calibration_pools_the_seeds(workplace: Path, report_params: Params) -> None:
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
    figure = calibration(load_frames(report_params.model_copy(update={"models": (BASELINE, DCLS)})))
    assert figure is not None
    (line,) = (line for line in figure.axes[0].lines if to_hex(line.get_color()).upper() == theme.DCLS)
    score = (100 * 0.2 + 200 * 0.23 + 300 * 0.26) / 600
    share = (100 * 0.3 + 200 * 0.2 + 300 * 0.1) / 600
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == (pytest.approx([score]), pytest.approx([share]))
    few = 3 * (FEWEST // 3 - 1)
    error = (few * 0.35 + 600 * abs(score - share) + 1200 * 0.35) / (few + 600 + 1200)
    assert line.get_label() == f"DCLS, error {100 * error:.1f} %"
    assert {line.get_label().partition(",")[0] for line in figure.axes[0].lines} == {
        "perfect calibration",
        "linear baseline",
        "baseline",
        "DCLS",
    }


def test_examples_show_the_scores_and_fill_what_is_there(workplace: Path, report_params: Params) -> None:
    models = ("fastvit_audio_sa24", "fastvit_dcls_audio_sa24", BASELINE, DCLS)
    figure = example_clips(load_frames(report_params.model_copy(update={"models": models})))
    assert figure is not None
    clips = json.loads((RESULTS / "examples" / "examples.json").read_text())["clips"]
    panels = np.array(figure.axes).reshape(len(clips), 3)
    assert [axes.get_title() for axes in panels[0, 1:]] == ["FastViT-SA24", "ConvNeXt-T"]
    for row, clip in zip(panels, clips, strict=True):
        assert row[0].get_title() == ", ".join(clip["labels"])
        steps = np.frombuffer(base64.b64decode(clip["log_mel"]["values"]), np.uint8)
        np.testing.assert_array_equal(row[0].images[0].get_array().ravel(), steps)
        for axes, pair in zip(row[1:], (models[:2], models[2:]), strict=True):
            shown = [(model, one) for model in pair for one in clip["predictions"][model][:SHOWN]]
            assert [bar.get_width() for bar in axes.patches] == [one["score"] for _, one in shown]
            assert [tick.get_text() for tick in axes.get_yticklabels()] == [one["label"] for _, one in shown]
            filled = [to_hex(bar.get_facecolor()) != "#ffffff" for bar in axes.patches]
            assert filled == [one["label"] in clip["labels"] for _, one in shown]
            colours = [theme.DCLS if "_dcls_" in model else theme.BASELINE for model, _ in shown]
            assert [to_hex(bar.get_edgecolor()).upper() for bar in axes.patches] == colours
            assert axes.yaxis_inverted()


def make_old(folder: Path) -> None:
    """Take away what runs before this code did not record."""
    shutil.rmtree(RESULTS / "examples")
    for path in folder.glob("*/"):
        for name in ("training/trajectories.csv", "training/kernels.csv", "evaluation/calibration.csv"):
            (path / name).unlink(missing_ok=True)
        positions = path / "training" / "positions.csv"
        if positions.exists():
            cells = [line.split(",")[:7] for line in positions.read_text().splitlines()]
            positions.write_text("\n".join(map(",".join, cells)) + "\n")


def test_old_results_are_drawn_without_what_they_lack(workplace: Path, report_params: Params, unsaved: None) -> None:
    params = report_params.model_copy(update={"models": (DCLS, BASELINE)})
    compare(params)
    tables(params)
    make_old(RESULTS / "runs")
    draw_figures(params)
    page = (RESULTS / "report.md").read_text()
    lacking = "paths of elements, dense kernels, calibration, example clips"
    assert page.endswith(f"Left out, as not recorded by this run: {lacking}.\n")
    assert f"motion_{DCLS}.png" in page
    for name in (f"kernels_{DCLS}", "calibration", "example_clips"):
        assert f"{name}.png" not in page
    maps = kernel_positions(load_frames(params), DCLS)
    assert maps is not None and [axes.get_title() for axes in maps.axes[:2]] == ["start", "epoch 8"]
    assert "paths of a sample" not in {axes.get_title() for axes in maps.axes}
    old = kernel_motion(load_frames(params), "ConvNeXt-T")
    assert old is not None and len(old.axes) == 8  # displacement and spread by stage
    assert list(old.axes[0].lines[0].get_xdata()) == [0, 1, 2, 4, 8]


@pytest.mark.parametrize("preset", ["esc10", "instruments", "study"])
def test_committed_results_can_be_drawn(committed: Path, preset: str) -> None:
    with contextlib.chdir(committed):
        frames = load_frames(selection_in(Path("results") / preset))
        backbone, model = next(iter(frames.main.items()))
        maps = kernel_positions(frames, model)
        assert maps is not None and kernel_motion(frames, backbone) is not None
        drawn = [figure is not None for figure in (dense_kernels(frames, model), calibration(frames))]
        *_, last = filter(None, (axes.get_title() for axes in maps.axes))
        drawn += [example_clips(frames) is not None, last == "paths of a sample"]
        assert drawn.count(False) == len(not_recorded(frames))


def test_from_a_folder_needs_no_parameters_and_no_predictions(
    made: Path, report_params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(report_params.model_copy(update={"models": (DCLS, BASELINE), "seeds": (1, 2)}))
    shutil.rmtree("predictions")
    drawn: list[Frames] = []
    one = lambda frames: drawn.append(frames) or pictures(frames)[:1]  # noqa: E731
    monkeypatch.setattr("harness.report.figures.draw.pictures", one)
    monkeypatch.setattr("sys.argv", ["harness", "figures", "--from", "results/instruments/"])
    assert not Path("params.yaml").exists() and cli.main() == 0
    assert (drawn[0].models, drawn[0].seeds) == ((BASELINE, DCLS), (1, 2))
    assert drawn[0].linear_baseline_seeds == (0, 1, 2)
    for folder, message in ((".", "is not a preset's folder"), ("results/other", "comparison.run.json: missing")):
        monkeypatch.setattr("sys.argv", ["harness", "figures", "--from", folder])
        assert cli.main() == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "draw", "message"),
    [
        ("training/trajectories.csv", "epoch,stage\n0,1\n", kernel_positions, "no column 'element'"),
        ("training/trajectories.csv", INCOMPLETE, kernel_positions, "an element lacks an epoch"),
        (
            "training/kernels.csv",
            "epoch,stage,layer,channel,largest,values\n0,1,l,0,1,1 2 3\n",
            dense_kernels,
            "cannot reshape",
        ),
        ("evaluation/calibration.csv", "low,high\n0,1\n", lambda frames, _: calibration(frames), "'count'"),
        (
            "../../examples/examples.json",
            '{"schema_version": 3, "seed": 0, "clips": [{}]}',
            lambda frames, _: example_clips(frames),
            "no 'clips.0.id' in it",
        ),
    ],
)
def test_broken_files_are_named(
    frames: Frames, name: str, content: str, draw: Callable[[Frames, str], object], message: str
) -> None:
    path = folder_of(DCLS, 0) / name
    path.write_text(content)
    with pytest.raises(UserError, match=rf"{path.name}: .*{message}"):
        draw(frames, DCLS)
