"""Figures: what is drawn is what the files say, the bytes repeat, and small cases are drawn too."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import paths
from harness.errors import UserError
from harness.files import write_csv
from harness.params import Params
from harness.report import style
from harness.report.figures import figures
from harness.report.learning_curves import learning_curves
from harness.report.load import load_results
from harness.report.position_maps import position_maps
from harness.report.speed_and_map import map_against_throughput
from harness.report.tables import tables

DCLS, BASELINE = "convnext_dcls_audio_tiny", "convnext_audio_tiny"
RESULTS = paths.results("instruments")


def _folder(model: str, seed: int) -> Path:
    return paths.result("instruments", model, seed)


def _columns(path: Path, *names: str) -> np.ndarray:
    with open(path, newline="") as file:
        return np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])


def test_page_and_pictures(workplace: Path, report_params: Params) -> None:
    params = dataclasses.replace(report_params, models=(DCLS, BASELINE), seeds=(0, 1))
    tables(params)
    figures(params)
    page = (RESULTS / "report.md").read_text()
    assert page.startswith(Path("paper_tables/instruments/table1.md").read_text().rstrip())
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert [Path(one).stem for one in pictures] == ["learning_curves", "map_against_throughput", f"positions_{DCLS}"]
    for one in pictures:
        with Image.open(RESULTS / one) as picture:
            assert picture.size[0] >= 1000 and picture.info["dpi"][0] == pytest.approx(150, abs=0.1)
            assert "Software" not in picture.info
        vector = (RESULTS / one).with_suffix(".svg")
        assert ElementTree.parse(vector).getroot().tag.endswith("svg")
        assert "dc:date" not in vector.read_text()
    assert page.count("160 test clips, 10 classes; reduced models, 8 epochs on CPU") == len(pictures)


def test_figures_need_the_table(workplace: Path, report_params: Params) -> None:
    with pytest.raises(UserError, match=r"^paper_tables/instruments/table1.md: missing"):
        figures(report_params)


@pytest.mark.parametrize("missing", ["history.csv", "positions.csv", "position_density.csv"])
def test_a_missing_file_is_named(workplace: Path, report_params: Params, missing: str) -> None:
    path = _folder(DCLS, 1) / missing
    path.unlink()
    results = load_results(report_params)
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}: missing"):
        learning_curves(results) if missing == "history.csv" else position_maps(results, DCLS)


def test_a_broken_file_is_named(workplace: Path, report_params: Params) -> None:
    (_folder(DCLS, 1) / "history.csv").write_text("epoch,learning_rate,train_loss,val_mAP\n1,0.1,high,0.2\n")
    with pytest.raises(UserError, match=r"history.csv: could not convert string to float: 'high'"):
        learning_curves(load_results(report_params))


def test_the_same_results_give_the_same_bytes(workplace: Path, report_params: Params) -> None:
    results = load_results(dataclasses.replace(report_params, models=(DCLS, BASELINE), seeds=(0, 1)))
    for figure in (learning_curves, map_against_throughput, partial(position_maps, model=DCLS)):
        for name in ("one", "two"):
            style.draw(Path(name), partial(figure, results))
        assert Path("one.png").read_bytes() == Path("two.png").read_bytes()
        assert Path("one.svg").read_bytes() == Path("two.svg").read_bytes()


def test_curves_are_the_histories_and_their_mean(workplace: Path, report_params: Params) -> None:
    figure = learning_curves(load_results(report_params))
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["ConvFormer-S18", "FastViT-SA24", "ConvNeXt-T"]
    histories = [_columns(_folder(DCLS, seed) / "history.csv", "epoch", "val_mAP") for seed in (0, 1, 2)]
    lines = [line for line in figure.axes[5].lines if line.get_color() == style.DCLS]
    for line, history in zip(lines, histories, strict=False):
        np.testing.assert_allclose(np.array(line.get_data()).T, history * [1, 100])
    np.testing.assert_allclose(lines[3].get_ydata(), 100 * np.mean([one[:, 1] for one in histories], axis=0))
    assert lines[3].get_linewidth() > lines[0].get_linewidth()


def test_heat_maps_have_frequency_upwards_and_time_rightwards(workplace: Path, report_params: Params) -> None:
    """All elements in the cell of the highest frequency offset and the middle of time."""
    for seed in report_params.seeds:
        write_csv(
            _folder(DCLS, seed) / "position_density.csv",
            ("epoch", "stage", "row", "column", "count"),
            [(0, 1, 22, 11, 5), (0, 1, 0, 11, 15)],
        )
    figure = position_maps(load_results(report_params), DCLS)
    assert figure is not None
    axes = figure.axes[0]
    image = axes.images[0]
    shown = np.ma.filled(image.get_array(), 0)
    assert image.origin == "lower" and image.get_extent() == [-11.5, 11.5, -11.5, 11.5]
    assert shown[22, 11] == 25 and shown[0, 11] == 75 and shown.sum() == 100  # percent, seeds together
    assert axes.get_ylim() == (-11.5, 11.5)


def test_displacement_is_the_mean_over_seeds(workplace: Path, report_params: Params) -> None:
    figure = position_maps(load_results(report_params), DCLS)
    assert figure is not None
    lines = {line.get_label(): line for line in figure.axes[-1].lines}
    files = [_folder(DCLS, seed) / "positions.csv" for seed in (0, 1, 2)]
    rows = [_columns(path, "stage", "epoch", "mean_displacement") for path in files]
    for stage in (1, 2, 3, 4):
        moved = np.mean([one[one[:, 0] == stage, 2] for one in rows], axis=0)
        np.testing.assert_allclose(lines[f"stage {stage}"].get_ydata(), moved)
        assert list(lines[f"stage {stage}"].get_xdata()) == [0, 1, 2, 4, 8]


def test_points_are_the_numbers_and_arrows_join_the_pairs(workplace: Path, report_params: Params) -> None:
    figure = map_against_throughput(load_results(dataclasses.replace(report_params, models=(BASELINE, DCLS))))
    here, paper = figure.axes
    for place, model in enumerate((BASELINE, DCLS)):
        maps = [100 * json.loads((_folder(model, seed) / "metrics.json").read_text())["mAP"] for seed in (0, 1, 2)]
        times = json.loads((RESULTS / "throughput" / f"{model}.json").read_text())["classes"]["527"]
        point = here.containers[place].lines[0]
        assert point.get_xdata()[0] == times["throughput"]
        assert point.get_ydata()[0] == pytest.approx(np.mean(maps))
    assert [container.lines[0].get_ydata()[0] for container in paper.containers] == [44.83, 45.52]
    arrow = next(text for text in paper.texts if text.arrow_patch is not None)
    assert (arrow.xyann, arrow.xy) == ((591.4, 44.83), (509.4, 45.52))


@pytest.mark.parametrize("models", [(DCLS,), (BASELINE,), (DCLS, "fastvit_audio_sa24")])
def test_one_seed_one_epoch_and_missing_partners(
    workplace: Path, report_params: Params, models: tuple[str, ...]
) -> None:
    for model in models:
        folder = _folder(model, 0)
        first = [line for line in (folder / "history.csv").read_text().splitlines()[:2]]
        (folder / "history.csv").write_text("\n".join(first) + "\n")
        for name in ("positions.csv", "position_density.csv"):
            lines = (folder / name).read_text().splitlines()
            (folder / name).write_text("\n".join([lines[0], *(one for one in lines[1:] if one[0] == "0")]) + "\n")
    results = load_results(dataclasses.replace(report_params, models=models, seeds=(0,)))
    style.draw(Path("curves"), partial(learning_curves, results))
    style.draw(Path("speed"), partial(map_against_throughput, results))
    if DCLS in models:
        assert style.draw(Path("positions"), partial(position_maps, results, DCLS))
    shutil.copy(_folder(BASELINE, 0) / "position_density.csv", _folder(DCLS, 0) / "position_density.csv")
    assert (
        not style.draw(Path("nothing"), lambda: position_maps(results, models[0])) and not Path("nothing.png").exists()
    )
