"""Systems that are no pair of the paper's: labels, comparisons, figures a backbone, and what leads the pages."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy import stats

from harness.config.params import Params
from harness.report import geometry
from harness.report.figures import theme
from harness.report.figures.by_epoch import differences_by_epoch, kernel_motion
from harness.report.figures.kernels import kernel_positions, outside_shares
from harness.report.figures.systems import systems
from harness.report.frames import Frames, load_frames
from harness.report.page.content import sampled_positions
from harness.report.show import lead
from harness.report.tables import tables
from harness.report.verdict import answer, verdict

MAIN, PAPERS, FIXED = "convnext_dcls_spread", "convnext_dcls_audio_tiny", "convnext_dcls_fixed"
DENSE, BASELINE = "convnext_dense_23", "convnext_audio_tiny"
SPREAD = "DCLS, spread start"
RESULTS = Path("results/study")


@pytest.fixture
def frames(study: Path, study_params: Params) -> Frames:
    return load_frames(study_params)


def _maps(model: str) -> np.ndarray:
    paths = [RESULTS / "runs" / f"{model}-{seed}" / "evaluation" / "metrics.json" for seed in (0, 1, 2)]
    return np.array([100 * json.loads(path.read_text())["mAP"] for path in paths])


def _histories(model: str) -> np.ndarray:
    """Validation mAP in percent, (seeds, epochs)."""
    found = []
    for seed in (0, 1, 2):
        with open(RESULTS / "runs" / f"{model}-{seed}" / "training" / "history.csv", newline="") as file:
            found.append([100 * float(row["val_mAP"]) for row in csv.DictReader(file)])
    return np.array(found)


def test_every_comparison_that_was_asked_for_is_in_the_table(frames: Frames, study_params: Params) -> None:
    tables(study_params)
    with open("paper_tables/study/comparisons.csv", newline="") as file:
        rows = {(row["model"], row["baseline"]): row for row in csv.DictReader(file)}
    wanted = [(MAIN, other) for other in (BASELINE, FIXED, PAPERS)]
    wanted += [(model, BASELINE) for model in (PAPERS, FIXED, DENSE)]
    assert set(rows) == {*wanted, ("fastvit_dcls_spread", "fastvit_audio_sa24")}
    page = Path("paper_tables/study/comparisons.md").read_text()
    for (model, other), row in rows.items():
        assert float(row["mean"]) == pytest.approx((_maps(model) - _maps(other)).mean())
        labels = [frames.systems[name].method for name in (model, other)]
        lines = [
            one for one in page.splitlines() if one.startswith(f"| {' - '.join(labels)} ") and row["in_words"] in one
        ]
        assert any(f"{float(row['low']):+.2f} to {float(row['high']):+.2f}" in line for line in lines)
    assert "| dense 23x23 " in page and "23x23 " in page and "| DCLS, fixed spacings " in page
    table1 = Path("paper_tables/study/table1.md").read_text()
    assert "64x31, 32x15, 16x7, 8x3" in table1 and "64x31, 32x16, 16x8, 8x4" in table1  # ConvNeXt, FastViT
    lines = {
        line.split("|")[1].strip(): line
        for line in table1.partition("**System minus")[0].splitlines()
        if line[:2] == "| "
    }
    assert "44.83" in lines[BASELINE] and "45.52" not in lines[MAIN]  # published numbers are of the paper's names
    speeds = {lines[name].split("|")[9] for name in (MAIN, PAPERS, FIXED)}
    assert len(speeds) == 1 and speeds != {lines[DENSE].split("|")[9]}  # timed once, by architecture


def test_claims_are_of_labels_over_backbones(frames: Frames) -> None:
    claims = verdict(frames)
    assert [one.claim for one in claims[:3]] == [
        "DCLS raises mAP in all three backbones",
        f"Learning the spacings raises mAP: {SPREAD} has a higher mAP than DCLS, fixed spacings",
        "DCLS, paper's start has a higher mAP than baseline",
    ]
    assert {name for name, _ in claims[0].by_backbone} == {"ConvNeXt-T", "FastViT-SA24"}
    said = answer(frames, claims)
    assert said.startswith("In this small experiment, ") and "DCLS (spread start) beats the baseline" in said
    assert "learning the spacings" in said


def test_the_picture_has_a_line_a_system_and_a_comparison(frames: Frames) -> None:
    figure = systems(frames)
    left, right = figure.axes[2:4]  # FastViT is first, as in the paper's table
    labels = [tick.get_text() for tick in left.get_yticklabels()]
    models = [name for name in frames.models if name.startswith("convnext")]
    assert labels == [frames.systems[name].method for name in models]
    dots = [line for line in left.lines if line.get_marker() == "o"]
    for dot, name in zip(dots, models, strict=True):
        assert float(np.squeeze(dot.get_xdata())) == pytest.approx(_maps(name).mean())
    colours = {
        frames.systems[name].method: to_hex(dot.get_color()).upper() for dot, name in zip(dots, models, strict=True)
    }
    assert (colours["baseline"], colours[SPREAD]) == (theme.BASELINE, theme.DCLS) and len(set(colours.values())) == 5
    (line,) = [one for one in left.lines if list(one.get_ydata()) == [0, 0]]
    assert list(line.get_xdata()) == pytest.approx(
        stats.t.interval(0.95, 2, _maps(BASELINE).mean(), stats.sem(_maps(BASELINE)))
    )
    pairs = frames.comparisons[frames.comparisons.backbone == "ConvNeXt-T"]
    words = {"higher": "supported", "lower": "refuted", "not distinguishable": "undecided"}
    assert [text.get_text() for text in right.texts] == [words[one] for one in pairs.verdict]


def test_differences_at_equal_epochs(frames: Frames) -> None:
    figure = differences_by_epoch(frames)
    assert figure is not None
    panels = np.array(figure.axes).reshape(-1, 2)
    rows = [axes.get_ylabel() for axes in panels[:, 0]]
    place = rows.index(f"{SPREAD}\n\N{MINUS SIGN} DCLS, fixed spacings")
    assert rows[0] == f"{SPREAD}\n\N{MINUS SIGN} baseline" and panels[place, 0].texts  # FastViT has none
    differences = _histories(MAIN) - _histories(FIXED)
    line = next(one for one in panels[place, 1].lines if len(one.get_xdata()) > 2)
    np.testing.assert_allclose(line.get_ydata(), differences.mean(0))
    (band,) = panels[place, 1].collections
    corners = band.get_paths()[0].vertices
    low, high = stats.t.interval(0.95, 2, differences.mean(0), stats.sem(differences))
    at_8 = corners[corners[:, 0] == 8, 1]
    assert (at_8.min(), at_8.max()) == pytest.approx((low[7], high[7]))


def test_kernels_of_a_backbone_stand_side_by_side(frames: Frames) -> None:
    maps = kernel_positions(frames, MAIN)
    assert maps is not None
    titles = [f"{SPREAD},\nstart", f"{SPREAD},\nepoch 24", "DCLS, paper's start,\nepoch 24", "paths of a sample"]
    assert [axes.get_title() for axes in maps.axes[:4]] == titles
    grey = [np.isfinite(axes.collections[0].get_array()).sum() for axes in maps.axes[8:16:4]]
    shown = [axes.collections[-1].get_array().shape for axes in maps.axes[8:16:4]]
    assert shown == [(23, 23)] * 2 and grey == [230, 529 - 15 * 5]  # stages 3 and 4, of docs/protocol.md
    motion = kernel_motion(frames, "ConvNeXt-T")
    assert motion is not None
    rows = np.array(motion.axes).reshape(4, 4)
    assert [len(row[0].lines) for row in rows] == [2, 2, 3, 2]  # with fixed spacings nothing moves
    beyond, last = outside_shares(frames, MAIN), frames.densities[frames.densities.epoch == 24]
    stage_3 = last[(last.model == MAIN) & (last.stage == 3)]
    far = (stage_3.column - 11).abs() > 6  # of docs/protocol.md
    assert beyond[3] == pytest.approx(100 * stage_3[far]["count"].sum() / stage_3["count"].sum()) and beyond[1] == 0
    names = [one["name"] for one in sampled_positions(frames)]
    assert f"ConvNeXt-T, {SPREAD}, seed 2" in names and "ConvNeXt-T, DCLS, paper's start, seed 0" in names
    assert len(names) == 3 + 1 + 3 and not any("fixed" in name for name in names)


def test_a_study_leads_where_it_is_there(study: Path, study_params: Params) -> None:
    tables(study_params)
    for name in ("instruments", "own"):
        Path(f"paper_tables/{name}").mkdir()
        Path(f"paper_tables/{name}/answer.txt").write_text("Nothing.\n")
    assert (lead("instruments").preset, lead("instruments").sentence) == ("instruments", "Nothing.")
    (RESULTS / "figures").mkdir()
    (RESULTS / "figures" / "systems.png").touch()
    assert lead("own").preset == "own", "a user's run leads with its own answer"
    first = lead("instruments")
    assert (first.preset, first.picture) == ("study", RESULTS / "figures" / "systems.png")
    assert first.sentence == Path("paper_tables/study/answer.txt").read_text().strip() != ""


@pytest.mark.parametrize(
    ("backbone", "seconds", "maps"),
    [  # as the models' own layers meet them
        ("ConvNeXt-T", 10.0, [(64, 62), (32, 31), (16, 15), (8, 7)]),
        ("ConvNeXt-T", 5.0, [(64, 31), (32, 15), (16, 7), (8, 3)]),
        ("ConvFormer-S18", 10.0, [(64, 62), (32, 31), (16, 16), (8, 8)]),
        ("FastViT-SA24", 5.0, [(64, 31), (32, 16), (16, 8), (8, 4)]),
        ("ConvFormer-S18", 1.28, [(64, 8), (32, 4), (16, 2), (8, 1)]),
    ],
)
def test_maps(backbone: str, seconds: float, maps: list[tuple[int, int]]) -> None:
    assert [geometry.map_size(backbone, stage, seconds) for stage in geometry.STAGES] == maps
    beyond = geometry.outside(23, maps[-1])
    reach = [min(11, side - 1) for side in maps[-1]]
    assert (~beyond).sum() == np.prod([2 * one + 1 for one in reach]) and not beyond[11, 11]
