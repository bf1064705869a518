"""The dense kernel in one step of Triton, and both as operators of torch.compile, against plain formulas in float64."""

import importlib.util
import subprocess
import sys

import pytest
import torch

import dcls
from dcls import kernels
from dcls.elements import axes_of_elements

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton in this build of torch")
VERSIONS = ["gauss", "max", "v1", "v0"]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request, monkeypatch):
    """A device on which kernels are fused: a GPU, or a CPU in Triton's interpreter."""
    if request.param == "cpu":
        monkeypatch.setattr(kernels, "is_fused", lambda weight, P, size: weight.dtype == torch.float32)
    return request.param


def elements(version, device, count=5, leading=(3, 2)):
    torch.manual_seed(0)
    weight = torch.randn(*leading, count, device=device).requires_grad_()
    P = (4 * torch.randn(2, *leading, count, device=device)).requires_grad_()
    SIG = torch.randn(P.shape, device=device).requires_grad_() if version in ("gauss", "max") else None
    return weight, P, SIG


def relative(ours, exact):
    return ((ours.double() - exact.double()).abs().max() / exact.abs().max()).item()


@pytest.mark.parametrize("size", [(9, 9), (6, 11), (23, 23)], ids=str)
@pytest.mark.parametrize("version", VERSIONS)
def test_kernel_and_gradients(version, size, device):
    sources = [source for source in elements(version, device) if source is not None]
    doubles = [source.detach().double().requires_grad_() for source in sources]
    SIG, SIG64 = (sources[2], doubles[2]) if len(sources) == 3 else (None, None)
    kernel = dcls.dense_kernel(sources[0], sources[1], SIG, size, version)
    axes = axes_of_elements(doubles[1], SIG64, size, version, derivatives=False)
    exact = kernels.combine(doubles[0], [axis.height for axis in axes], version)
    assert kernel.shape == (3, 2, *size)
    assert relative(kernel, exact) <= 2e-6  # a float32 position near 16 cells is known to 1e-6 cells
    grad = torch.randn_like(kernel)
    expected = torch.autograd.grad(exact, doubles, grad.double())
    for ours, theirs in zip(torch.autograd.grad(kernel, sources, grad), expected, strict=True):
        assert relative(ours, theirs) <= 1e-5


@pytest.mark.parametrize("version", VERSIONS)
def test_heights_too_small_to_count_are_exactly_zero(version, device):
    weight, P, SIG = elements(version, device, count=1, leading=(1,))
    with torch.no_grad():
        P.fill_(-11)
        kernel = dcls.dense_kernel(weight, P, None if SIG is None else torch.zeros_like(SIG), (23, 23), version)
    assert kernel[0, 0, 0] != 0
    assert (kernel == 0).sum() > 400


def test_double_backward(device):
    """With gradients on in a backward, plain operations take the step's place."""
    weight, P, SIG = elements("gauss", device)
    kernel = dcls.dense_kernel(weight, P, SIG, (9, 9), "gauss")
    first = torch.autograd.grad(kernel.square().sum(), (weight, P), create_graph=True)
    ours = torch.autograd.grad(sum(part.square().sum() for part in first), (weight, P, SIG))
    axes = axes_of_elements(P, SIG, (9, 9), "gauss", derivatives=False)
    plain = kernels.combine(weight, [axis.height for axis in axes], "gauss")
    first = torch.autograd.grad(plain.square().sum(), (weight, P), create_graph=True)
    theirs = torch.autograd.grad(sum(part.square().sum() for part in first), (weight, P, SIG))
    assert all(relative(one, two) <= 1e-4 for one, two in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("version", ["gauss", "v1"])
def test_compiled(version, device):
    """One graph, no break: outputs, gradients, and outputs without gradients as parameters change."""
    torch.compiler.reset()
    torch.manual_seed(0)
    layer = dcls.Dcls2d(4, 4, 3, 1, 4, 9, 4, version=version, device=device)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    input = torch.randn(2, 4, 8, 7, device=device)
    results = []
    for called in (compiled, layer):
        sample = input.clone().requires_grad_()
        output = called(sample)
        output.square().sum().backward()
        results.append([output, sample.grad, *(parameter.grad for parameter in layer.parameters())])
        layer.zero_grad(set_to_none=True)
    assert all(relative(one, two) <= 1e-5 for one, two in zip(*results, strict=True))
    with torch.no_grad():
        for _ in range(3):
            assert relative(compiled(input), layer(input)) <= 1e-5
            layer.P.add_(0.3)


def test_a_compiled_graph_calls_our_operators(device):
    """And an exported one torch's alone, so that it runs where dcls is not installed."""
    torch.compiler.reset()
    called = []

    def record(graph, inputs):
        names = {str(node.target).removesuffix(".default") for node in graph.graph.nodes}
        called.append({name for name in names if name.startswith("dcls")})
        return graph.forward

    layer, input = dcls.Dcls2d(4, 4, 3, 1, 4, 9, 4, device=device), torch.randn(2, 4, 8, 7, device=device)
    compiled = torch.compile(layer, backend=record, fullgraph=True)
    compiled(input)
    with torch.no_grad():
        compiled(input)
    assert called == [{"dcls.depthwise", f"dcls.{kernel}"} for kernel in ("dense_kernel", "cached_kernel")]
    exported = torch.export.export(layer, (input,))
    assert "dcls" not in {str(node.target).partition(".")[0] for node in exported.graph.nodes}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_operators_keep_their_promises(device):
    """torch.library.opcheck: schemas, fake results and gradients."""
    weight, P, SIG = elements("gauss", device)
    torch.library.opcheck(torch.ops.dcls.dense_kernel, (weight, P, SIG, [9, 9], "gauss"))
    torch.library.opcheck(torch.ops.dcls.cached_kernel, (weight.detach(), P.detach(), SIG.detach(), [9, 9], "gauss"))
    input, kernel = torch.randn(2, 4, 8, 7, device=device), torch.randn(4, 1, 5, 3, device=device)
    arguments = (input.requires_grad_(), kernel.requires_grad_(), torch.randn(4, device=device), [2, 1])
    for last in (False, True):
        torch.library.opcheck(torch.ops.dcls.depthwise, (*arguments, last))


COMPILE = """
import inspect
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from dcls import triton_convolution as convolution, triton_kernel as kernel
from dcls.triton_convolution import DEPTH, COLUMNS

def ptx(function, pointers, dtype, numbers, constants, capability):
    signature = {name: f"*{dtype}" for name in pointers} | {name: "i32" for name in numbers}
    if "constexprs" in inspect.signature(ASTSource).parameters:
        signature |= {name: "constexpr" for name in constants}
        signature = {name: signature[name] for name in function.arg_names}
        source = ASTSource(function, signature, constexprs=constants)
    else:  # older Triton
        source = ASTSource(function, signature, constants=constants)
    return compile(source, target=GPUTarget("cuda", capability, 32)).asm["ptx"]

maps = dict(HEIGHT=16, WIDTH=31, OUT_HEIGHT=16, OUT_WIDTH=31, KERNEL_HEIGHT=23, KERNEL_WIDTH=23, PAD_HEIGHT=11,
            PAD_WIDTH=11, STEPS=2, ROWS=64, COLUMNS=COLUMNS, DEPTH=DEPTH, WIDEN=False)
sides = dict(HEIGHT=23, WIDTH=23, CENTRE0=11, CENTRE1=11, COUNT=26, ROWS=32, COLUMNS=32, ELEMENTS=32, VERSION="gauss",
             EPSILON=1e-7, MIN_SPREAD=0.27, NEGLIGIBLE=1e-14)
for capability in (80, 90):
    for dtype, precision in (("bf16", "ieee"), ("fp16", "ieee"), ("fp32", "tf32"), ("fp32", "ieee")):
        forward = maps | dict(FIRST=0, END=23, BIASED=True, PRECISION=precision)
        backward = maps | dict(TILES=1, BLOCKS=4, SHIFTS=32, PRECISION=precision)
        numbers, into = ("rows", "channels"), ("input", "kernel", "bias", "output")
        texts = [
            ptx(convolution._convolve, into, dtype, numbers, forward, capability),
            ptx(convolution._correlate, ("input", "grad", "result"), dtype, numbers, backward, capability),
        ]
        on_tensor_cores = all("mma" in text for text in texts)
        assert on_tensor_cores == (precision == "tf32" or dtype != "fp32"), (capability, dtype, precision)
    before = ("weight", "P0", "P1", "SIG0", "SIG1")
    after = ("by_weight", "by_P0", "by_P1", "by_SIG0", "by_SIG1")
    ptx(kernel._forward, (*before, "kernel"), "fp32", (), sides, capability)
    ptx(kernel._backward, ("grad", *before, *after), "fp32", (), sides, capability)
"""


def test_kernels_compile_for_gpus_that_are_not_here(tmp_path):
    """For compute capabilities 8.0 and 9.0; products of 16 bits and tf32 are instructions of the tensor cores."""
    environment = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
