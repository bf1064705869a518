"""The tables made of recorded kernels say what was worked out by hand, and stay small."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dcls import Dcls2d, dense_kernel, replace_depthwise
from harness.config.systems import Dcls
from harness.training.kernel_tables import LEVELS, SAMPLED, STEPS, recorded_stages, summary, support
from harness.training.positions import snapshot, write_positions

COUNT, SIDE = 5, 23


def dcls(version: str = "gauss", side: int = SIDE) -> Dcls:
    return Dcls(kernel_count=COUNT, dilated_kernel_size=side, version=version)


def layer_of(channels: int, version: str = "gauss", side: int = SIDE) -> Dcls2d:
    return Dcls2d(channels, channels, COUNT, groups=channels, dilated_kernel_size=side, version=version)


def written(recorded: dict[str, torch.Tensor], folder: Path, parameters: Dcls) -> dict[str, list[dict[str, str]]]:
    write_positions(recorded, parameters, folder / "positions.npz", folder)
    return {path.stem: list(csv.DictReader(path.read_text().splitlines())) for path in folder.glob("*.csv")}


def test_summary_by_hand(tmp_path: Path) -> None:
    """Five elements moved by 0, 1, 2, 3 and 4 cells along frequency; one ends in the outermost row, one clamped."""
    model = nn.ModuleDict({"only": layer_of(1)})
    layer = model["only"]
    with torch.no_grad():
        layer.P.zero_()
    recorded = snapshot(model, 0)
    with torch.no_grad():  # gauss: index 0 moves along time, 1 along frequency
        layer.P[1, 0, 0] = torch.tensor([0.0, 1.0, 2.0, -3.0, 4.0])
        layer.SIG[:] = torch.tensor([0.1, -0.2, 0.3, -0.4, 0.5])
    recorded |= snapshot(model, 1)
    with torch.no_grad():
        layer.P[1, 0, 0] = torch.tensor([0.0, 10.6, -11.0, 10.4, 0.0])
    recorded |= snapshot(model, 2)
    tables = written(recorded, tmp_path, dcls())
    first, moved, far = tables["positions"]
    assert {first[f"displacement_{level}"] for level in LEVELS} == {"0.0"} and first["at_border"] == "0.0"
    # of five elements; the spreads are those of both axes, so each stands twice
    by_hand = {"displacement": [0.2, 1.0, 2.0, 3.0, 3.8], "spread": [0.1, 0.2, 0.3, 0.4, 0.5]}
    for name, values in by_hand.items():
        assert [float(moved[f"{name}_{level}"]) for level in LEVELS] == pytest.approx(values)
    assert float(moved["mean_displacement"]) == pytest.approx(2.0) and moved["at_border"] == "0.0"
    assert float(far["at_border"]) == pytest.approx(2 / 5)
    on_border = [row for row in tables["position_density"] if row["epoch"] == "2" and row["row"] in ("0", "22")]
    assert [(row["row"], row["column"], row["count"]) for row in on_border] == [("0", "11", "1"), ("22", "11", "1")]
    rows = [(row["epoch"], float(row["row"]), float(row["column"])) for row in tables["trajectories"]]
    assert rows[5:10] == [("1", 0, 0), ("1", 1, 0), ("1", 2, 0), ("1", -3, 0), ("1", 4, 0)]


@pytest.mark.parametrize(
    ("cells", "share"), [([1.0] * 9, 1.0), ([0, 0, -7.0, 0, 0, 0, 0, 0, 0], 1 / 9), ([2.0, -2.0] + [0] * 7, 2 / 9)]
)
def test_support_is_the_share_of_equally_large_cells(cells: list[float], share: float) -> None:
    assert support(np.array(cells, np.float32).reshape(1, 3, 3)) == pytest.approx([share])


def test_support_of_nothing_is_nothing() -> None:
    assert support(np.zeros((2, 3, 3), np.float32)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("version", ["gauss", "max", "v1", "v0"])
def test_rows_run_along_frequency_in_every_version(version: str, tmp_path: Path) -> None:
    """An element moved along the first kernel axis, frequency, is seen to be in all the tables."""
    model = nn.ModuleDict({"only": layer_of(2, version)})
    frequency = 1 if version != "v0" else 0
    with torch.no_grad():
        model["only"].P.zero_()
        model["only"].P[frequency] += 4
    tables = written(snapshot(model, 0), tmp_path, dcls(version))
    assert {(row["row"], row["column"]) for row in tables["position_density"]} == {("15", "11")}
    assert {(row["row"], row["column"]) for row in tables["trajectories"]} == {("4.0", "0.0")}
    for row in tables["kernels"]:
        kernel = np.array(row["values"].split(), int).reshape(SIDE, SIDE)
        assert abs(kernel[15, 11]) == STEPS == np.abs(kernel).max()
    assert (tables["positions"][0]["mean_spread"] == "") == (version in ("v0", "v1"))
    assert (tables["positions"][0]["spread_q50"] == "") == (version in ("v0", "v1"))


def test_kernels_are_those_of_the_layers(tmp_path: Path) -> None:
    """Three layers of two stages: weights are each layer's, positions the stage's."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Conv2d(c, c, 7, padding=3, groups=c) for c in (6, 6, 9)))
    layers = replace_depthwise(model, COUNT, SIDE, share="stage")
    recorded = snapshot(model, 0)
    assert {key: tuple(tensor.shape) for key, tensor in recorded.items() if key.endswith("weight")} == {
        "0|0|weight": (2, 6, 1, COUNT),
        "0|2|weight": (1, 9, 1, COUNT),
    }
    with torch.no_grad():
        layers["1"].weight.mul_(-2)
    recorded |= snapshot(model, 3)
    tables = written(recorded, tmp_path, dcls())
    where = [(row["epoch"], row["stage"], row["layer"], row["channel"]) for row in tables["kernels"]]
    ends = [("0", "0"), ("2", "0"), ("4", "0")], [("0", "2"), ("3", "2"), ("6", "2")]
    assert where == [
        (epoch, str(stage), layer, channel)
        for epoch in ("0", "3")
        for stage, names in enumerate(ends, 1)
        for channel, layer in names
    ]
    row = tables["kernels"][1]
    kernel = np.array(row["values"].split(), float).reshape(SIDE, SIDE) / STEPS * float(row["largest"])
    np.testing.assert_allclose(
        kernel, layers["0"].kernel()[2, 0].detach(), rtol=0, atol=0.51 / STEPS * float(row["largest"])
    )
    shares = [
        support(
            dense_kernel(layers[name].weight, layers[name].P, layers[name].SIG, (SIDE, SIDE), "gauss")[:, 0]
            .detach()
            .numpy()
        )
        for name in ("0", "1")
    ]
    assert float(tables["positions"][2]["mean_support"]) == pytest.approx(np.mean(shares))
    assert float(tables["positions"][2]["support_q50"]) == pytest.approx(np.median(shares))


def test_files_of_a_long_run_of_the_papers_size_are_small(tmp_path: Path) -> None:
    """ConvNeXt-T's stages with elements all over the kernel at the eight recorded epochs of a long run."""
    torch.manual_seed(0)
    parameters = Dcls(kernel_count=26, dilated_kernel_size=SIDE, version="gauss")
    stages = {str(n): Dcls2d(c, c, 26, groups=c, dilated_kernel_size=SIDE) for n, c in enumerate((96, 192, 384, 768))}
    model, recorded = nn.ModuleDict(stages), {}
    for epoch in (0, 1, 2, 4, 8, 16, 32, 60):
        for layer in stages.values():
            nn.init.uniform_(layer.P, -11, 11)
        recorded |= snapshot(model, epoch)
    tables = written(recorded, tmp_path, parameters)
    assert len(tables["trajectories"]) == 8 * 4 * SAMPLED and len(tables["kernels"]) == 2 * 4 * 3
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("*.csv")}
    assert sizes["kernels.csv"] < 60_000 and sizes["trajectories.csv"] < 40_000 and sizes["positions.csv"] < 20_000


def test_large_kernels_are_shown_by_fewer_channels_and_baselines_by_none(tmp_path: Path) -> None:
    tables = written(snapshot(nn.ModuleDict({"only": layer_of(4, side=41)}), 0), tmp_path, dcls(side=41))
    assert [row["channel"] for row in tables["kernels"]] == ["0"]
    assert written({}, tmp_path, dcls()) == {"positions": [], "position_density": [], "trajectories": [], "kernels": []}
    assert list(summary(recorded_stages({}, dcls()))) == []
