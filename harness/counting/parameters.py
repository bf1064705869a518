"""The count_parameters stage: where the parameters of the full-size models are, with 527 and with 1000 classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dcls import Dcls2d
from harness.base import paths
from harness.base.files import write_json
from harness.config.params import Params
from harness.config.systems import CLASS_COUNTS, Model
from harness.counting.operations import full_size_of
from harness.models.build import build_model, is_replaced, parameter_count
from harness.models.weights import CLASSIFIERS
from harness.records.provenance import as_plain, provenance
from harness.records.schemas import Parameters, checked


def count_parameters(params: Params) -> None:
    """Write results/PRESET/parameters.json, by model and part, and parameters.run.json, which says what made it.

    Nothing is allocated: the models are built on PyTorch's meta device.
    """
    settings = {name: full_size_of(params.systems[name].model) for name in params.models}
    counted = {name: counts(one) for name, one in settings.items()}
    folder = paths.results(params.preset)
    write_json(folder / "parameters.json", checked(Parameters, {"models": counted}))
    record = provenance(
        "parameters",
        {name: as_plain(one) for name, one in settings.items()},
        data_fingerprint="none",
        device="meta",
        models=list(params.models),
        scale="full",
    )
    write_json(folder / "parameters.run.json", record)
    print(f"{folder / 'parameters.json'}: {', '.join(params.models)}")


def counts(settings: Model) -> dict[str, Any]:
    """Trainable parameters of a full-size model: what does not depend on the classes, and by number of classes the head
    (the last linear layer) and all together.

    `convolution` says which depthwise convolutions there are; `kernels` are their weights; `positions` and `spreads`
    are P and SIG, learned or fixed, each counted once where layers share them; `features` go into the head.
    """
    by_classes = {}
    for classes in CLASS_COUNTS:
        with torch.device("meta"):
            model = build_model(settings, classes)
        head = model.get_submodule(CLASSIFIERS[settings.backbone])
        by_classes[str(classes)] = {"head": parameter_count(head), "total": parameter_count(model)}
    if not isinstance(head, nn.Linear):
        raise TypeError(f"the classifier of {settings.backbone} is {type(head).__name__}, not a linear layer")
    positions, spreads = (
        sum(one.numel() for name, one in model.named_parameters() if name.rpartition(".")[2] == kind)
        for kind in ("P", "SIG")
    )
    kernels = sum(
        one.weight.numel()
        for name, one in model.named_modules()
        if isinstance(one, Dcls2d) or is_replaced(name, one, settings.kernel_size)
    )
    last = by_classes[str(CLASS_COUNTS[-1])]
    return {
        "convolution": settings.convolution,
        "backbone": last["total"] - last["head"] - kernels - positions - spreads,
        "kernels": kernels,
        "positions": positions,
        "spreads": spreads,
        "features": head.in_features,
        "classes": by_classes,
    }
