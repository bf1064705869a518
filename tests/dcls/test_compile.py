"""torch.compile with its default backend, which compiles C++: minutes on a busy core, so `pytest -m slow` runs it."""

import copy
import shutil
import sysconfig
from pathlib import Path

import pytest
import torch
from torch._inductor import config, cpp_builder, exc

import dcls

timm = pytest.importorskip("timm", reason="timm is not installed")


def missing():
    """What inductor lacks here to compile for a CPU, or None."""
    try:
        compiler = cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        compiler = None
    if compiler is None or shutil.which(compiler) is None:
        return f"no C++ compiler, of {config.cpp.cxx}"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "no Python.h, which the compiled code includes"
    return None


pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]


def compare(model, input, fullgraph):
    """Outputs with and without gradients, and all gradients, of a model and its compiled self."""
    torch.compiler.reset()  # of what other tests compiled: there is a limit to how often one forward is
    twin = copy.deepcopy(model)
    compiled = torch.compile(model, fullgraph=fullgraph)
    inputs = [input.clone().requires_grad_(), input.clone().requires_grad_()]
    outputs = [compiled(inputs[0]), twin(inputs[1])]
    weights = torch.randn_like(outputs[1])
    for output in outputs:
        (output * weights).sum().backward()
    close(outputs[0], outputs[1])
    close(inputs[0].grad, inputs[1].grad)
    for (name, one), two in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert two.grad.abs().max() > 0, name
        close(one.grad, two.grad)
    with torch.no_grad():
        for one, two in zip(model.parameters(), twin.parameters(), strict=True):
            one.add_(0.1)
            two.add_(0.1)
        close(compiled(input), twin(input))


def close(ours, theirs):
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("version", ["gauss", "max", "v1", "v0"])
def test_layer(version):
    torch.manual_seed(0)
    layer = dcls.Dcls2d(8, 8, 4, 1, 4, 9, 8, version=version)
    with torch.no_grad():
        layer.P.normal_(0, 2)
        if layer.SIG is not None:
            layer.SIG.normal_(0, 0.5)
    compare(layer, torch.randn(2, 8, 12, 10), fullgraph=True)


def test_model_with_replaced_layers():
    """A ConvNeXt of four stages, each with its own positions, shared by its layers."""
    torch.manual_seed(0)
    model = timm.create_model("test_convnext", num_classes=5)
    replaced = dcls.replace_depthwise(model, 4, 9)
    assert len({id(layer.P) for layer in replaced.values()}) < len(replaced)
    compare(model, torch.randn(2, 3, 64, 64), fullgraph=False)
