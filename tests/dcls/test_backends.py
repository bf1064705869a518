"""Every way to compute a depthwise convolution against float64, and how one of them is chosen and recorded."""

import importlib.util
import json
import math
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

import dcls
from dcls import backends, choice
from dcls.convolution import convolve

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton in this build of torch")
BACKENDS = [pytest.param(name, marks=needs_triton) if name.startswith("triton") else name for name in backends.BACKENDS]
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}  # of the largest value
SHAPES = [  # samples, channels, cells, kernel, padding
    (3, 4, (20, 9), (7, 5), (3, 2)),
    (2, 3, (5, 40), (3, 11), (1, 5)),  # more columns than one program takes
    (2, 2, (4, 3), (9, 9), (4, 4)),  # a kernel larger than its map
    (1, 5, (13, 17), (4, 6), (0, 3)),  # even sizes, less padding on one axis
]


def random_shapes(count):
    """Small ones, since a CPU runs Triton's kernels in an interpreter."""
    generator = torch.Generator().manual_seed(0)

    def draw(low, high):
        return int(torch.randint(low, high + 1, (), generator=generator))

    for _ in range(count):
        size = (draw(1, 7), draw(1, 9))
        padding = tuple(draw(0, side - 1) for side in size)
        cells = tuple(draw(max(1, side - 2 * pad), 24) for side, pad in zip(size, padding, strict=True))
        yield draw(1, 4), draw(2, 5), cells, size, padding


def relative(ours, exact):
    return ((ours.double() - exact).abs().max() / exact.abs().max().clamp(min=1e-9)).item()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("name", BACKENDS)
def test_all_agree_with_float64(name, dtype, device):
    """Convolution, and the gradients of the input (a convolution with the flipped kernel) and of the kernel."""
    torch.manual_seed(0)
    backend = backends.BACKENDS[name]
    for n, c, cells, size, padding in (*SHAPES, *random_shapes(2)):
        input = torch.randn(n, c, *cells, dtype=dtype, device=device).requires_grad_()
        kernel = torch.randn(c, 1, *size, dtype=dtype, device=device).requires_grad_()
        bias = torch.randn(c, dtype=dtype, device=device)
        exact = F.conv2d(input.double(), kernel.double(), bias.double(), 1, padding, 1, c)
        grad = torch.randn_like(exact).to(dtype)
        by_input, by_kernel = torch.autograd.grad(exact, (input, kernel), grad.double())
        with torch.no_grad():
            output = backend.convolve(input, kernel, bias, padding)
            flipped = backends.flipped_padding(kernel, padding)
            ours = (
                output,
                backend.convolve(grad, kernel.flip(2, 3), None, flipped),
                backend.correlate(input, grad, size, padding),
            )
        for one, two in zip(ours, (exact, by_input, by_kernel), strict=True):
            assert one.shape == two.shape
            assert one.dtype == dtype
            assert relative(one, two.double()) <= TOLERANCES[dtype], (n, c, cells, size, padding)


def layer_and_input(dtype=torch.float32, device="cpu"):
    torch.manual_seed(0)
    layer = dcls.Dcls2d(8, 8, 5, 1, 4, 9, 8, device=device, dtype=dtype)
    return layer, torch.randn(2, 8, 12, 10, device=device, dtype=dtype)


def step(layer, input):
    """Output and all gradients, of input and parameters."""
    input = input.detach().clone().requires_grad_()
    output = layer(input)
    output.square().sum().backward()
    gradients = [parameter.grad for parameter in layer.parameters()]
    layer.zero_grad(set_to_none=True)
    return output.detach(), input.grad, *gradients


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("named", ["measured", *BACKENDS])
def test_a_layer_computes_the_same_whichever_is_chosen(named, device):
    layer, input = layer_and_input(device=device)
    expected = step(layer, input)
    dcls.use_convolution(named)
    for ours, theirs in zip(step(layer, input), expected, strict=True):
        assert relative(ours, theirs.double()) <= 1e-5
    records = dcls.convolution_choices()
    assert {record["operation"] for record in records} == {"convolution", "kernel_gradient"}
    assert all(record["backend"] == named or named == "measured" for record in records)


@pytest.mark.parametrize("device", DEVICES)
def test_measured_once_for_a_shape_dtype_and_device(device):
    dcls.use_convolution("measured")
    layer, input = layer_and_input(device=device)
    step(layer, input)
    records = dcls.convolution_choices()
    assert len(records) == 2  # a map as large as its input has its gradient by the same convolution
    for record in records:
        timed = record["milliseconds"]
        assert timed[record["backend"]] == min(timed.values())
        assert all(math.isfinite(value) and value > 0 for value in timed.values())
        if device == "cpu":
            assert set(timed) <= {"torch_channels_last", "fft", "torch_contiguous"}
            assert record["device"] == "cpu"
    step(layer, input)
    assert dcls.convolution_choices() == records  # nothing was timed again
    step(layer, input[:1])
    assert len(dcls.convolution_choices()) == 4
    dcls.forget_convolution_choices()
    assert dcls.convolution_choices() == []


def test_recorded_choices_give_the_same_bits_again():
    dcls.use_convolution("measured")
    layer, input = layer_and_input()
    step(layer, input)
    records = json.loads(json.dumps(dcls.convolution_choices()))
    records[0]["backend"] = "fft"  # what another machine might have chosen
    dcls.use_convolution(records)
    again, once_more = step(layer, input), step(layer, input)
    assert [record["backend"] for record in dcls.convolution_choices()] == [record["backend"] for record in records]
    assert all(torch.equal(one, two) for one, two in zip(again, once_more, strict=True))
    step(layer, input[:1])  # was not recorded
    assert [record["backend"] for record in dcls.convolution_choices()[2:]] == ["torch_channels_last"] * 2


def test_a_new_process_measures_nothing():
    """Measuring is opted into: the default is the rule."""
    code = (
        "import torch, dcls; layer = dcls.Dcls2d(8, 8, 5, 1, 4, 9, 8)\n"
        "layer(torch.randn(2, 8, 12, 10, requires_grad=True)).sum().backward()\n"
        "print(len(dcls.convolution_choices()), [one for one in dcls.convolution_choices() if one['milliseconds']])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "2 []"


def test_deterministic_algorithms_are_not_measured():
    dcls.use_convolution("measured")
    torch.use_deterministic_algorithms(True)
    try:
        step(*layer_and_input())
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(record["milliseconds"] == {} for record in dcls.convolution_choices())


def test_a_backend_that_fails_is_not_chosen_and_says_why(monkeypatch):
    def out_of_memory(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 80.00 GiB")

    fft = backends.BACKENDS["fft"]._replace(convolve=out_of_memory, correlate=out_of_memory)
    monkeypatch.setitem(backends.BACKENDS, "fft", fft)
    dcls.use_convolution("measured")
    step(*layer_and_input())
    for record in dcls.convolution_choices():
        assert record["failed"]["fft"] == "CUDA out of memory. Tried to allocate 80.00 GiB"
        assert record["backend"] != "fft"


def test_where_all_fail_the_error_is_the_convolutions_own(monkeypatch):
    def fails(*arguments):
        raise RuntimeError("no engine")

    for name, backend in backends.BACKENDS.items():
        monkeypatch.setitem(backends.BACKENDS, name, backend._replace(convolve=fails))
    dcls.use_convolution("measured")
    with pytest.raises(RuntimeError, match="no engine"):
        step(*layer_and_input())


def test_what_cannot_be_chosen():
    with pytest.raises(ValueError, match=r"'rule', 'measured', 'torch_channels_last'.*got 'fastest'"):
        dcls.use_convolution("fastest")
    with pytest.raises(ValueError, match="not a record"):
        dcls.use_convolution([{"backend": "fft"}])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_few_channels_of_16_bits_end(dtype):
    """Where torch's own convolution runs for ever (AVX-512; float16: AVX-512 FP16), so in a process to kill."""
    code = (
        f"import torch, dcls; layer = dcls.Dcls2d(16, 16, 9, 1, 11, 23, 16, dtype=torch.{dtype})\n"
        "torch.nn.init.uniform_(layer.P, -11, 11)\n"
        "for layout in (torch.contiguous_format, torch.channels_last):\n"
        "    for name in ('measured', 'rule', 'torch_channels_last', 'torch_contiguous', 'fft'):\n"
        "        dcls.use_convolution(name)\n"
        f"        input = torch.randn(1, 16, 8, 40, dtype=torch.{dtype}).contiguous(memory_format=layout)\n"
        "        layer(input).float().sum().backward()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@needs_triton
def test_a_fixed_backend_that_cannot_run_here(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    dcls.use_convolution("triton_64")
    with pytest.raises(RuntimeError, match="'triton_64' cannot run on cpu in float32"):
        step(*layer_and_input())


@pytest.mark.parametrize("device", DEVICES)
def test_autocast_takes_16_bits(device):
    dcls.use_convolution("measured")
    layer, input = layer_and_input(device=device)
    exact = layer(input).double()
    dcls.forget_convolution_choices()
    with torch.autocast(device, torch.bfloat16):
        output = layer(input)
    assert output.dtype == torch.bfloat16
    assert relative(output, exact) <= 1e-2
    assert [record["dtype"] for record in dcls.convolution_choices()] == ["bfloat16"]


def test_measured_or_not_a_double_backward_is_exact():
    dcls.use_convolution("measured")
    torch.manual_seed(0)
    input, kernel = torch.randn(2, 4, 50, 9, requires_grad=True), torch.randn(4, 1, 7, 5, requires_grad=True)
    results = []
    for f in (
        lambda: convolve(input, kernel, None, (1, 1), [(3, 3), (2, 2)], "zeros", 4),
        lambda: F.conv2d(input, kernel, None, 1, (3, 2), 1, 4),
    ):
        first = torch.autograd.grad(f().square().sum(), (input, kernel), create_graph=True)
        results.append(torch.autograd.grad(sum(part.square().mean() for part in first), (input, kernel)))
    for ours, theirs in zip(*results, strict=True):
        assert relative(ours, theirs.double()) <= 1e-5


def test_counting_operations_measures_nothing():
    """torch.utils.flop_counter sees one convolution, and not those that a measurement would run."""
    from torch.utils.flop_counter import FlopCounterMode

    dcls.use_convolution("measured")
    layer, input = layer_and_input()
    layer.requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        layer(input)
    assert dcls.convolution_choices() == []
    assert counter.get_flop_counts()["Global"][torch.ops.aten.convolution] == 2 * 2 * 8 * 12 * 10 * 9 * 9


@needs_triton
def test_on_a_cpu_the_interpreter_is_never_a_choice():
    dcls.use_convolution("measured")
    step(*layer_and_input())
    timed = {name for record in dcls.convolution_choices() for name in (*record["milliseconds"], *record["failed"])}
    assert not any(name.startswith("triton") for name in timed)
    assert choice.BACKENDS["triton_64"].can_run(torch.zeros(1))  # though it could run


def test_near_shapes_share_what_was_measured(monkeypatch):
    """Batches padded to their longest sample: a few measurements for all lengths, and no more than the bound."""
    dcls.use_convolution("measured")
    layer = dcls.Dcls1d(4, 4, 1, padding=12, dilated_kernel_size=25, groups=4)
    with torch.no_grad():
        for steps in range(100, 140):
            layer(torch.randn(2, 4, steps))
    records = dcls.convolution_choices()
    assert len(records) == 40
    measured = [record for record in records if record["milliseconds"]]
    assert 1 <= len(measured) <= 3
    assert {record["backend"] for record in records} == {record["backend"] for record in measured}
    monkeypatch.setattr(choice, "MOST_MEASURED", len(measured))
    monkeypatch.setattr(choice, "MOST_CHOICES", 50)
    with torch.no_grad():
        for steps in range(200, 1200, 50):
            layer(torch.randn(2, 4, steps))
    records = dcls.convolution_choices()
    assert len(records) == 50
    assert not any(record["milliseconds"] for record in records[-20:])
