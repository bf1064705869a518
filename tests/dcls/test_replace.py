"""Replacing depthwise convolutions in models, and fusing them again."""

import copy
import itertools
import random

import pytest
import torch
from torch import nn

import dcls
from dcls.replace import is_depthwise

timm = pytest.importorskip("timm", reason="timm is not installed")

# what `drawn_models` draws, so that nobody here chose them; test_every_family_of_timm draws them again
DRAWN = [
    "repvit_m1_0",
    "gernet_s",
    "efficientformerv2_s0",
    "csatv2",
    "starnet_s2",
    "hardcorenas_b",
    "pit_ti_distilled_224",
    "ghostnet_130",
    "rexnet_150",
    "shvit_s1",
]


def small_model_of(module, draw):
    """The first of three drawn models of a timm module with depthwise convolutions and at most 12M parameters."""
    names = [name for name in timm.list_models(module=module) if not name.startswith("test_")]
    for name in draw.sample(names, min(3, len(names))):
        with torch.device("meta"):
            model = timm.create_model(name)
        if any(map(is_depthwise, model.modules())) and sum(p.numel() for p in model.parameters()) <= 12e6:
            return name
    return None


def drawn_models(count):
    """Names of small models, each of another module of timm, in a drawn order; none of the paper's families."""
    draw = random.Random(2309_13972)
    modules = [module for module in timm.list_modules() if module not in ("convnext", "metaformer", "fastvit")]
    draw.shuffle(modules)
    models = filter(None, (small_model_of(module, draw) for module in modules))
    return list(itertools.islice(models, count))


def test_what_is_replaced(small):
    model = copy.deepcopy(small)
    replaced = dcls.replace_depthwise(model, 5, 9)
    assert list(replaced) == ["1", "3", "4", "5"]
    assert all(model.get_submodule(name) is layer for name, layer in replaced.items())
    assert [layer.bias is not None for layer in replaced.values()] == [True, False, True, True]
    assert replaced["4"].padding_mode == "circular"
    assert replaced["1"].P is replaced["3"].P
    assert replaced["1"].SIG is replaced["3"].SIG
    assert replaced["4"].P is not replaced["1"].P
    assert replaced["5"].P is replaced["4"].P  # 16 output channels, one input channel each, as the one before
    assert replaced["1"].weight.std().item() == pytest.approx(0.02, rel=0.3)
    assert torch.all(replaced["1"].bias == 0)
    assert not replaced["1"].training
    input = torch.randn(2, 1, 20, 19)
    assert model(input).shape == small(input).shape


@pytest.mark.parametrize("size", [8, (9, 4), 23], ids=str)
def test_output_size_stays(size):
    model = nn.Sequential(nn.Conv2d(4, 4, 7, padding=3, groups=4), nn.Conv1d(4, 4, 3, padding="same", groups=4))
    shape = model[0](torch.randn(1, 4, 30, 31)).shape
    dcls.replace_depthwise(model, 3, size, where=lambda name, module: isinstance(module, nn.Conv2d))
    assert model[0](torch.randn(1, 4, 30, 31)).shape == shape


def test_no_padding_keeps_the_size():
    with pytest.raises(ValueError, match="no padding gives a kernel of size"):
        dcls.replace_depthwise(nn.Sequential(nn.Conv2d(4, 4, 3, 2, padding=1, groups=4)), 3, 8)


@pytest.mark.parametrize(("share", "positions"), [("stage", 2), ("layer", 3), (None, 3)])
def test_where_and_share(small, share, positions):
    model = copy.deepcopy(small)
    replaced = dcls.replace_depthwise(
        model, 5, 9, "max", where=lambda name, module: module.stride == (1, 1), share=share
    )
    assert list(replaced) == ["1", "3", "5"]
    assert len({id(layer.P) for layer in replaced.values()}) == positions
    assert len({id(layer.SIG) for layer in replaced.values()}) == positions


@pytest.mark.parametrize("version", ["gauss", "max", "v1", "v0"])
def test_position_std_scales_the_same_draws(small, version):
    """All else starts alike: spread, weights, and what is drawn after them."""
    started = {}
    for std in (None, 0.5, 4.0, 0.0):
        torch.manual_seed(3)
        model = copy.deepcopy(small)
        dcls.replace_depthwise(model, 5, 23, version, **({} if std is None else {"position_std": std}))
        started[std] = model.state_dict() | {"next": torch.rand(3)}
    for key, published in started[0.5].items():
        factor = 8 if key.endswith(".P") else 1
        assert torch.equal(started[None][key], published)
        assert torch.equal(started[4.0][key], factor * published)
        assert torch.equal(started[0.0][key], torch.zeros_like(published) if factor == 8 else published)
    drawn = torch.cat([value.flatten() for key, value in started[4.0].items() if key.endswith(".P")])
    assert drawn.std().item() == pytest.approx(4, rel=0.15)


def test_messages(small):
    model = copy.deepcopy(small)
    with pytest.raises(ValueError, match="share must be"):
        dcls.replace_depthwise(model, 5, 9, share="all")
    for std in (-0.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"position_std must be 0 or more cells, but got position_std={std}"):
            dcls.replace_depthwise(model, 5, 9, position_std=std)
    assert not any(isinstance(module, dcls.DclsNd) for module in model.modules())
    with pytest.raises(ValueError, match="no depthwise convolution"):
        dcls.replace_depthwise(nn.Sequential(nn.Conv2d(3, 3, 3)), 5, 9)


def test_one_convolution_at_two_names():
    convolution = nn.Conv2d(4, 4, 3, padding=1, groups=4)
    model = nn.Sequential(convolution, nn.ReLU(), convolution)
    replaced = dcls.replace_depthwise(model, 5, 9)
    assert list(replaced) == ["0", "2"]
    assert model[0] is model[2]
    assert isinstance(dcls.fuse(model)[0], nn.Conv2d)
    assert model[0] is model[2]


@pytest.mark.parametrize("dimensions", [1, 3])
def test_other_dimensions(dimensions):
    kind = {1: nn.Conv1d, 3: nn.Conv3d}[dimensions]
    model = nn.Sequential(kind(4, 4, 3, padding=1, groups=4))
    input = torch.randn(2, 4, *[9] * dimensions)
    (layer,) = dcls.replace_depthwise(model, 3, 5).values()
    assert type(layer).__name__ == f"Dcls{dimensions}d"
    assert model(input).shape == input.shape


def input_of(model):
    """One random image of 64x64 cells, or of the one size that the model takes."""
    settings = model.pretrained_cfg
    shape = settings["input_size"] if settings.get("fixed_input_size") else (3, 64, 64)
    return torch.randn(1, *shape)


@pytest.mark.parametrize("name", DRAWN)
def test_timm_families(name):
    """Same output shape, gradients to all positions, and the same outputs once fused."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # some start at 0, through which no gradient passes
    input = input_of(model)
    with torch.no_grad():
        shape = model(input).shape
    replaced = dcls.replace_depthwise(model, 4, 9)
    output = model(input)
    assert output.shape == shape
    output.square().sum().backward()
    for layer in replaced.values():
        assert layer.P.grad.isfinite().all()
        assert layer.P.grad.abs().max() > 0
    fused = dcls.fuse(copy.deepcopy(model))
    assert not any(isinstance(module, dcls.DclsNd) for module in fused.modules())
    assert torch.allclose(fused(input), output, rtol=1e-4, atol=1e-4 * output.abs().max().item())


@pytest.mark.slow
def test_every_family_of_timm():
    """One drawn model of every module of timm, on the meta device: same output shape, a gradient for all positions.

    All that may fail is a convolution of an even size that moves by strides, which an odd kernel cannot replace.
    """
    assert drawn_models(len(DRAWN)) == DRAWN
    draw = random.Random(0)
    worked, refused = [], {}
    for module in timm.list_modules():
        with torch.device("meta"):
            model = timm.create_model(draw.choice(timm.list_models(module=module)))
            if not any(map(is_depthwise, model.modules())):
                continue
            input = torch.randn(2, *model.pretrained_cfg["input_size"])
            shape = model(input).shape
            try:
                replaced = dcls.replace_depthwise(model, 4, 9)
            except ValueError as error:
                refused[module] = str(error)
                continue
            output = model(input)
            assert output.shape == shape, module
            output.sum().backward()
            assert all(layer.P.grad is not None for layer in replaced.values()), module
        worked.append(module)
    assert len(worked) >= 40, worked
    assert all("no padding gives a kernel of size (9, 9)" in reason for reason in refused.values()), refused
    assert len(refused) <= 2, refused


@pytest.mark.parametrize(
    ("name", "layers", "difference"),
    [("convnext_tiny", 18, 2592), ("convformer_s18", 18, 16640), ("fastvit_sa24", 25, 47360)],
)
def test_parameters_of_the_papers_models(name, layers, difference):
    """Parameters that the replacement saves in the three backbones of arXiv 2309.13972."""
    with torch.device("meta"):
        model = timm.create_model(name)
        before = sum(parameter.numel() for parameter in model.parameters())
        square = lambda name, conv: conv.kernel_size == (7, 7) and conv.in_channels == conv.out_channels  # noqa: E731
        replaced = dcls.replace_depthwise(model, 26, 23, where=square)
    assert len(replaced) == layers
    assert len({id(layer.P) for layer in replaced.values()}) == 4
    assert before - sum(parameter.numel() for parameter in model.parameters()) == difference


@pytest.mark.parametrize("version", ["gauss", "max", "v1", "v0"])
@pytest.mark.parametrize("padding", [0, (2, 1), "same", "valid"])
def test_fuse(version, padding):
    torch.manual_seed(0)
    layer = dcls.Dcls2d(4, 6, 3, 1, padding, (5, 4), 2, version=version, dtype=torch.float64)
    fused = dcls.fuse(layer)
    assert type(fused) is nn.Conv2d
    input = torch.randn(2, 4, 9, 8, dtype=torch.float64)
    assert torch.allclose(fused(input), layer(input), atol=1e-12)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [2, "same"])
def test_padding_modes(dimensions, mode, padding):
    """As torch's convolution pads, also on one side more for a kernel of even size."""
    torch.manual_seed(0)
    size = (4, 5, 3)[:dimensions]
    layer = getattr(dcls, f"Dcls{dimensions}d")(3, 3, 2, 1, padding, size, 3, padding_mode=mode)
    input = torch.randn(2, 3, *(7, 6, 8)[:dimensions])
    output = layer(input)
    if padding == "same":
        assert output.shape == input.shape
    twin = getattr(nn, f"Conv{dimensions}d")(3, 3, size, 1, padding, 1, 3, padding_mode=mode)
    with torch.no_grad():
        twin.weight.copy_(layer.kernel())
        twin.bias.copy_(layer.bias)
    assert torch.allclose(output, twin(input), atol=1e-6)


@pytest.mark.skipif(
    torch.__version__.startswith("2.5."),
    reason="torch 2.5's exporter cannot translate torch's own BatchNorm2d with onnxscript 0.7",
)
def test_fused_model_in_onnx(small, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

    model = copy.deepcopy(small)
    dcls.replace_depthwise(model, 5, 9)
    input = torch.randn(2, 1, 20, 19)
    expected = model(input).detach()
    torch.onnx.export(dcls.fuse(model), (input,), str(tmp_path / "model.onnx"), input_names=["input"], dynamo=True)
    (output,) = onnxruntime.InferenceSession(str(tmp_path / "model.onnx")).run(None, {"input": input.numpy()})
    assert torch.allclose(torch.from_numpy(output), expected, atol=1e-5)
