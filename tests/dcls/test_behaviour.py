"""What a module of PyTorch must live with: copies, sharing, autocast, compile, checkpointing, processes."""

import copy
import io
import pickle

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.utils.checkpoint import checkpoint

import dcls
from dcls import elements
from tests.dcls.conftest import depthwise, fresh


@pytest.mark.parametrize("version", ["gauss", "max", "v1", "v0"])
def test_gradients_of_layers_that_share(input, version):
    """Two layers on one P: the sum of both gradients, also when accumulated over backwards and after a change."""
    one, two = depthwise(version), depthwise(version)
    two.P, two.SIG = one.P, one.SIG

    def gradients():
        one.zero_grad()
        two.zero_grad()
        for part in input.split(1):
            two(one(part)).square().sum().backward()
        return one.P.grad.clone()

    def expected():
        P = one.P.detach().clone().requires_grad_()
        total = 0.0
        for part in input.split(1):
            for layer in (one, two):
                kernel = dcls.dense_kernel(layer.weight, P, layer.SIG, (9, 9), version)
                part = nn.functional.conv2d(part, kernel, layer.bias, 1, 4, 1, 8)
            total = total + part.square().sum()
        return torch.autograd.grad(total, P)[0]

    for _ in range(2):
        assert torch.allclose(gradients(), expected(), rtol=1e-4, atol=1e-4)
        with torch.no_grad():
            one.P.add_(0.2)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing(input, reentrant):
    layer = depthwise()
    input.requires_grad_()
    layer(input).square().sum().backward()
    expected = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    checkpoint(layer, input, use_reentrant=reentrant).square().sum().backward()
    for parameter, grad in zip(layer.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad, grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("version", ["gauss", "v0"])
@pytest.mark.parametrize("way", ["pickle", "deepcopy", "torch.save"])
def test_copies(input, way, version):
    layer = depthwise(version)
    expected = layer(input)
    with torch.no_grad():
        layer(input)
    if way == "pickle":
        other = pickle.loads(pickle.dumps(layer))
    elif way == "deepcopy":
        other = copy.deepcopy(layer)
    else:
        buffer = io.BytesIO()
        torch.save(layer, buffer)
        buffer.seek(0)
        other = torch.load(buffer, weights_only=False)
    assert torch.equal(other(input), expected)


def test_copy_keeps_sharing():
    model = nn.Sequential(depthwise(), depthwise())
    model[1].P = model[0].P
    other = pickle.loads(pickle.dumps(model))
    assert other[0].P is other[1].P


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("groups", [1, 8])
def test_autocast(input, dtype, groups):
    """The kernel is built in float32: only the convolution rounds to 16 bits."""
    torch.manual_seed(0)
    layer = dcls.Dcls2d(8, 8, 4, 1, 4, 9, groups)
    with torch.autocast("cpu", dtype):
        output = layer(input)
        output.float().square().sum().backward()
    assert output.dtype == dtype
    low = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    exact = layer(input)
    exact.square().sum().backward()
    assert (output - exact).abs().max() <= 0.02 * exact.abs().max()
    for grad, parameter in zip(low, layer.parameters(), strict=True):
        assert grad.dtype == torch.float32
        assert (grad - parameter.grad).abs().max() <= 0.05 * parameter.grad.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("layer", [dcls.Dcls1d, dcls.Dcls2d, dcls.Dcls3d])
def test_autocast_leaves_the_kernel_alone(layer, dtype):
    made = layer(2, 2, 4, dilated_kernel_size=5)
    expected = made.kernel()
    with torch.autocast("cpu", dtype):
        assert torch.equal(made.kernel(), expected)
        assert torch.equal(made.kernel_and_pads()[0], expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_of_a_model(dtype):
    """Layers that share positions, of which the second gets a 16-bit input; with gradients and in evaluation."""
    model = nn.Sequential(depthwise(), nn.Conv2d(8, 8, 1), depthwise())
    model[2].P, model[2].SIG = model[0].P, model[0].SIG
    input = torch.randn(2, 8, 12, 10)
    exact = model(input)
    exact.square().sum().backward()
    expected = model[0].P.grad.clone()
    model.zero_grad()
    with torch.autocast("cpu", dtype):
        output = model(input)
        output.float().square().sum().backward()
        with torch.no_grad():
            quiet = model(input)
    assert output.dtype == quiet.dtype == dtype
    assert torch.equal(output, quiet)
    assert (output - exact).abs().max() <= 0.02 * exact.abs().max()
    assert (model[0].P.grad - expected).abs().max() <= 0.05 * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_other_dtypes(input, dtype):
    layer = depthwise().to(dtype)
    output = layer(input.to(dtype))
    output.sum().backward()
    assert output.dtype == layer.P.grad.dtype == dtype
    assert torch.allclose(output.float(), fresh(layer.float(), input), atol=0.05)


@pytest.mark.parametrize("version", ["gauss", "max", "v1", "v0"])
def test_compile(input, version):
    """One graph without breaks, the same output and gradients."""
    layer = depthwise(version)
    layer(input).square().sum().backward()
    expected = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    torch.compile(layer, backend="aot_eager", fullgraph=True)(input).square().sum().backward()
    for parameter, grad in zip(layer.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad, grad, rtol=1e-4, atol=1e-4)


def test_meta_device():
    with torch.device("meta"):
        layer = depthwise()
        assert layer(torch.randn(2, 8, 12, 10)).shape == (2, 8, 12, 10)
        with torch.no_grad():
            assert layer(torch.randn(2, 8, 12, 10)).is_meta
        layer(torch.randn(2, 8, 12, 10)).sum().backward()
    assert layer.P.is_meta
    assert layer.P.grad.shape == layer.P.shape


def test_from_the_meta_device(input):
    """`to_empty` and `reset_parameters` give what a layer made on the CPU has."""
    with torch.device("meta"):
        layer = depthwise()
    layer = layer.to_empty(device="cpu")
    torch.manual_seed(0)
    layer.reset_parameters()
    assert torch.equal(layer(input), depthwise()(input))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("version", ["gauss", "max", "v1", "v0"])
def test_on_a_gpu(input, version):
    """As on the CPU, and in evaluation a change of the parameters counts at once."""
    layer = depthwise(version, dtype=torch.float64)
    there = copy.deepcopy(layer).cuda()
    for one, data in ((layer, input.double()), (there, input.double().cuda())):
        one(data).square().sum().backward()
        with torch.no_grad():
            one(data)
            one.P.add_(0.3)
    for ours, theirs in zip(there.parameters(), layer.parameters(), strict=True):
        assert torch.allclose(ours.grad.cpu(), theirs.grad, rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        assert torch.allclose(there(input.double().cuda()).cpu(), layer(input.double()), rtol=1e-9, atol=1e-9)


def test_tracing(input):
    """A traced layer follows its parameters."""
    layer = depthwise()
    traced = torch.jit.trace(layer, (input,))
    with torch.no_grad():
        layer.P.add_(0.3)
    assert torch.allclose(traced(input), layer(input), atol=1e-6)


def test_functional_gradient(input):
    layer = depthwise()
    layer(input).square().sum().backward()

    def loss(parameters):
        return torch.func.functional_call(layer, parameters, (input,)).square().sum()

    gradients = torch.func.grad(loss)({name: p.detach() for name, p in layer.named_parameters()})
    for name, parameter in layer.named_parameters():
        assert torch.allclose(gradients[name], parameter.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 8])
def test_memory_format_of_the_output(input, groups):
    layer = dcls.Dcls2d(8, 8, 4, 1, 4, 9, groups)
    assert layer(input).is_contiguous()
    last = layer(input.to(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(last, layer(input), atol=1e-5)


@pytest.mark.parametrize("version", elements.VERSIONS)
def test_heights_are_contiguous_where_the_parameters_are_not(version):
    """Else batched products of matrices are computed one by one, which doubled a training step in channels_last."""
    layer, other = depthwise(version), depthwise(version).to(memory_format=torch.channels_last)
    assert not other.P[0].flatten(0, -2).is_contiguous()
    for derivatives in (False, True):
        for axis in elements.axes_of_elements(other.P, other.SIG, (9, 9), version, derivatives):
            assert all(part is None or part.is_contiguous() for part in axis)
    assert torch.equal(other.kernel(), layer.kernel())


def test_sample_without_a_batch(input):
    layer = depthwise()
    assert torch.allclose(layer(input[0]), layer(input)[0], atol=1e-6)


def test_depthwise_1d():
    torch.manual_seed(0)
    layer = dcls.Dcls1d(8, 8, 4, 1, "same", 10, 8)
    input = torch.randn(3, 8, 40, requires_grad=True)
    output = layer(input)
    output.square().sum().backward()
    other = dcls.fuse(layer)
    twin = input.detach().requires_grad_()
    expected = other(twin)
    expected.square().sum().backward()
    assert torch.allclose(output, expected, atol=1e-5)
    assert torch.allclose(input.grad, twin.grad, atol=1e-4)


def train_in_process(rank, address, results):
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    model = nn.Sequential(depthwise(), depthwise())
    model[1].P, model[1].SIG = model[0].P, model[0].SIG
    wrapped = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(dcls.parameter_groups(model, 1e-3, 0.0))
    generator = torch.Generator().manual_seed(5)
    for _ in range(2):
        input = torch.randn(2, 8, 12, 10, generator=generator)
        optimizer.zero_grad()
        wrapped(input[rank : rank + 1]).square().mean().backward()
        optimizer.step()
    results[rank] = model[0].P.detach().numpy().copy()
    dist.destroy_process_group()


def test_distributed(tmp_path):
    """Two processes of one sample each do what one process does with both."""
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(train_in_process, (f"file://{tmp_path}/rendezvous", results), nprocs=2)
        ours = torch.from_numpy(results[0]), torch.from_numpy(results[1])
    model = nn.Sequential(depthwise(), depthwise())
    model[1].P, model[1].SIG = model[0].P, model[0].SIG
    start = model[0].P.detach().clone()
    optimizer = torch.optim.SGD(dcls.parameter_groups(model, 1e-3, 0.0))
    generator = torch.Generator().manual_seed(5)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(2, 8, 12, 10, generator=generator)).square().mean().backward()
        optimizer.step()
    assert torch.equal(*ours)
    assert (model[0].P - start).abs().max() > 1e-6
    assert torch.allclose(ours[0], model[0].P, atol=1e-7)
