"""The quick backward pass of plain depthwise convolutions against torch's own."""

import copy
import io

import pytest
import torch
from torch import nn

import dcls
from dcls.quick_backward import QuickBackwardConv2d


@pytest.fixture
def pair():
    """A convolution, and a copy with the quick backward pass."""

    def build(channels=16, **more):
        torch.manual_seed(0)
        plain = nn.Conv2d(channels, channels, **({"kernel_size": 7, "padding": 3, "groups": channels} | more))
        quick = nn.Sequential(copy.deepcopy(plain))
        dcls.use_quick_backward(quick)
        return plain, quick[0]

    return build


def output_and_gradients(layer, input, grad):
    input = input.clone(memory_format=torch.preserve_format).requires_grad_()
    output = layer(input)
    return output, *torch.autograd.grad(output, (input, *layer.parameters()), grad)


# of the three backbones at batch 2, reduced and full-size, first and last stages, and shapes with a side of their own
@pytest.mark.parametrize(
    "shape", [(16, 64, 8), (256, 8, 1), (512, 8, 1), (96, 64, 62), (768, 8, 7), (128, 16, 2), (5, 9, 50), (3, 7, 7)]
)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gradients_are_torchs(pair, shape, layout):
    plain, quick = pair(shape[0])
    input = torch.randn(2, *shape).contiguous(memory_format=layout)
    grad = torch.randn(2, *shape)
    for ours, theirs in zip(
        output_and_gradients(quick, input, grad), output_and_gradients(plain, input, grad), strict=True
    ):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize(
    "more",
    [
        {"padding": 0, "bias": False},
        {"padding": "same"},
        {"padding_mode": "circular"},
        {"kernel_size": (7, 3), "padding": (2, 1), "padding_mode": "reflect"},
        {"kernel_size": (1, 8), "padding": "same"},
        {"kernel_size": 1, "padding": 0},
        {"kernel_size": 1, "padding": 0, "bias": False},
        {"kernel_size": 1, "padding": 1},
    ],
    ids=str,
)
def test_every_padding(pair, more):
    plain, quick = pair(4, **more)
    assert type(quick) is QuickBackwardConv2d
    input = torch.randn(3, 4, 12, 11)
    grad = torch.randn_like(plain(input))
    for ours, theirs in zip(
        output_and_gradients(quick, input, grad), output_and_gradients(plain, input, grad), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_one_cell_has_the_dtype_that_autocast_gives(pair):
    plain, quick = pair(4, kernel_size=1, padding=0)
    input = torch.randn(3, 4, 12, 11)
    with torch.autocast("cpu", torch.bfloat16):
        assert quick(input).dtype == plain(input).dtype == torch.bfloat16


def test_it_is_the_convolution_of_dcls_layers(pair):
    _, quick = pair()
    dcls.use_convolution("rule")
    quick(torch.randn(2, 16, 20, 9)).sum().backward()
    assert {one["operation"] for one in dcls.convolution_choices()} == {"convolution", "kernel_gradient"}


def test_without_gradients_it_is_torchs_to_the_bit(pair):
    plain, quick = pair()
    input = torch.randn(2, 16, 20, 9)
    dcls.use_convolution("rule")
    with torch.no_grad():
        assert torch.equal(quick(input), plain(input))
    assert not dcls.convolution_choices()


def test_keys_parameters_and_class_stay(pair):
    plain, quick = pair()
    assert isinstance(quick, nn.Conv2d)
    assert list(quick.state_dict()) == list(plain.state_dict())
    quick.load_state_dict({name: tensor + 1 for name, tensor in plain.state_dict().items()})
    assert torch.equal(quick.weight, plain.weight + 1)
    saved = io.BytesIO()
    torch.save(quick, saved)
    saved.seek(0)
    again = torch.load(saved, weights_only=False)
    assert type(again) is QuickBackwardConv2d
    assert torch.equal(again.weight, quick.weight)


class Own(nn.Conv2d):
    def forward(self, input):
        return input


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, groups=4),  # where torch's own backward is quicker
        nn.Conv2d(4, 4, 7, stride=2, groups=4),
        nn.Conv2d(4, 8, 1, groups=4),
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, 7, dilation=2, groups=4),
        nn.Conv2d(4, 8, 7, groups=4),
        nn.Conv2d(4, 4, 7),
        nn.Conv2d(1, 1, 7),
        nn.Conv1d(4, 4, 7, groups=4),
        Own(4, 4, 7, groups=4),
    ],
    ids=str,
)
def test_others_are_left_alone(layer):
    before = type(layer)
    assert dcls.use_quick_backward(nn.Sequential(layer)) == {}
    assert type(layer) is before


def test_where_picks_and_twice_is_once():
    model = nn.Sequential(*(nn.Conv2d(4, 4, 7, padding=3, groups=4) for _ in range(3)))
    assert list(dcls.use_quick_backward(model, lambda name, _: name == "1")) == ["1"]
    assert list(dcls.use_quick_backward(model)) == ["0", "1", "2"]
    assert list(dcls.use_quick_backward(model[0])) == [""]
