"""Made-up trainings in the manner of code that uses the published package, which they import by its own name.

Each returns what it computed, by name. Networks of delays see spikes (N, channels, steps) and convolve over steps.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZE, STEPS = 9, 12


class Delays(nn.Module):
    """Two layers of delays, left padded, with a leaky integrator between them."""

    def __init__(self, version="gauss"):
        super().__init__()
        from DCLS.construct.modules import Dcls1d

        torch.manual_seed(0)
        arguments = {"kernel_count": 1, "dilated_kernel_size": SIZE, "bias": False, "version": version}
        self.layers = nn.ModuleList([Dcls1d(5, 7, groups=1, **arguments), Dcls1d(7, 3, groups=1, **arguments)])
        for layer in self.layers:
            nn.init.uniform_(layer.P, -(SIZE // 2), SIZE // 2)
            layer.clamp_parameters()
            if layer.SIG is not None:
                nn.init.constant_(layer.SIG, 2.0)
                layer.SIG.requires_grad = False
        self.double()

    def convolve(self, layer, x):
        return layer(x)

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(self.convolve(layer, F.pad(x, (SIZE - 1, 0))))
        return x

    def clamp(self):
        for layer in self.layers:
            layer.clamp_parameters()


def batch(step):
    generator = torch.Generator().manual_seed(step)
    spikes = (torch.rand(4, 5, STEPS, generator=generator) < 0.3).double()
    return spikes, torch.randint(0, 3, (4,), generator=generator)


def train(model, steps, extra=None, between=None):
    """Losses of so many steps; positions have a learning rate of their own."""
    positions = [p for name, p in model.named_parameters() if name.endswith("P")]
    others = [p for name, p in model.named_parameters() if not name.endswith("P") and p.requires_grad]
    optimizer = torch.optim.Adam([{"params": others, "lr": 1e-2}, {"params": positions, "lr": 1e-1}])
    losses = []
    for step in range(steps):
        x, target = batch(step)
        loss = F.cross_entropy(model(x).sum(2), target)
        if extra is not None:
            loss = loss + extra(model)
        if between is not None:
            between(model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.clamp()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64)


def found(model, **more):
    grads = {f"grad of {n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {**model.state_dict(), **grads, **more}


def rounds_to_evaluate():
    """Whole positions without spread for evaluation, then the learned ones again."""
    model = Delays()
    before = train(model, 3)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for layer in model.layers:
            layer.SIG *= 0
            layer.version = "max"
            layer.DCK.version = "max"
            layer.P.round_()
            layer.clamp_parameters()
        outputs = model(batch(9)[0])
        says = [layer.version for layer in model.layers]
        for layer in model.layers:
            layer.version = "gauss"
            layer.DCK.version = "gauss"
    model.load_state_dict(kept, strict=True)
    assert says == ["max", "max"]
    return found(model, before=before, outputs=outputs, after=train(model, 3))


def anneals_the_spread():
    """A smaller spread each epoch, then v1, with SIG still there."""
    model = Delays()
    losses = []
    for epoch in range(3):
        losses.append(train(model, 2))
        for layer in model.layers:
            layer.SIG *= 0.5
            if epoch == 1:
                layer.DCK.version = "v1"
    return found(model, losses=torch.cat(losses))


class Dale(Delays):
    def __init__(self):
        super().__init__()
        self.signs = [
            torch.where(torch.arange(layer.in_channels) % 2 == 0, 1.0, -1.0)[:, None] for layer in self.layers
        ]

    def convolve(self, layer, x):
        sign = self.signs[list(self.layers).index(layer)].to(x)
        return layer._conv_forward(x, layer.weight.abs() * sign, layer.bias, layer.P, layer.SIG)


def obeys_dales_law():
    """A neuron's outgoing weights have one sign: the layer convolves with other weights than its own."""
    model = Dale()
    return found(model, losses=train(model, 3), outputs=model(batch(8)[0]))


def keeps_positions_apart():
    def repulsion(model):
        total = 0.0
        for layer in model.layers:
            distance = layer.P[0].flatten()[:, None] - layer.P[0].flatten()
            total = (
                total + torch.exp(-distance.square()).mean() + layer.DCK(layer.weight, layer.P, layer.SIG).abs().mean()
            )
        return total

    model = Delays()
    return found(model, losses=train(model, 3, extra=repulsion))


def writes_through_data():
    """Positions change between forward and backward, in place and through `.data`."""

    def nudge(model):
        with torch.no_grad():
            model.layers[0].P.add_(0.3)
        model.layers[1].P.data = model.layers[1].P.data - 0.2
        model.layers[1].P.data[0, 0].mul_(0.5)

    model = Delays("v1")
    return found(model, losses=train(model, 3, between=nudge))


def has_a_layer_of_its_own():
    """A class made of the base class and the kernel construction, which reads their attributes."""
    from DCLS.construct.modules import ConstructKernel1d, _DclsNd

    class Own(_DclsNd):
        def __init__(self, channels, count):
            super().__init__(channels, channels, count, (1,), (0,), (SIZE,), False, (0,), 1, False, "zeros", "max")
            self.DCK = ConstructKernel1d(channels, channels, 1, count, self.dilated_kernel_size, self.version)

        def _conv_forward(self, input, weight, bias, P, SIG):
            padded = F.pad(input, self._reversed_padding_repeated_twice)
            return F.conv1d(padded, self.DCK(weight, P, SIG), bias, self.stride, (0,), (1,), self.groups)

        def forward(self, input: Tensor) -> Tensor:
            return self._conv_forward(input, self.weight, self.bias, self.P, self.SIG)

    torch.manual_seed(3)
    layer = Own(5, 4).double()
    layer(batch(0)[0]).square().sum().backward()
    assert not layer.transposed
    assert layer.output_padding == (0,)
    assert layer.SIG is not None
    assert "bias" in layer._parameters
    return found(layer, cells=layer.DCK.IDX.double(), sizes=layer.DCK.lim.double())


CLIENTS = (
    rounds_to_evaluate,
    anneals_the_spread,
    obeys_dales_law,
    keeps_positions_apart,
    writes_through_data,
    has_a_layer_of_its_own,
)
