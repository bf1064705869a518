"""What a system is: a backbone, the convolution in it, how it is trained, and what it is compared with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from harness.config.section import AS_TUPLE, DISTINCT, Depth, Odd, Rate, Section, Several, Text, Width, key, must

LINEAR_BASELINE = "linear_baseline"  # the trivial system that stands beside the others
CLASS_COUNTS = (527, 1000)  # AudioSet's, and the head that the paper's parameter column counts
BACKBONES = {"convnext": "ConvNeXt-T", "convformer": "ConvFormer-S18", "fastvit": "FastViT-SA24"}
PAPER = {  # the paper's six, whose published numbers belong to these names alone: backbone, and the baseline if DCLS
    "convformer_audio_s18": ("convformer", None),
    "convformer_dcls_audio_s18": ("convformer", "convformer_audio_s18"),
    "fastvit_audio_sa24": ("fastvit", None),
    "fastvit_dcls_audio_sa24": ("fastvit", "fastvit_audio_sa24"),
    "convnext_audio_tiny": ("convnext", None),
    "convnext_dcls_audio_tiny": ("convnext", "convnext_audio_tiny"),
}
PUBLISHED_KERNEL_SIZE = 7  # cells along a side of the depthwise kernels that DCLS replaces

SystemName = Annotated[
    str,
    must("be letters, digits, - and _, at most 64, no - first", re.compile(r"(?a)\w[\w-]{0,63}").fullmatch),
    must(f"be another name: {LINEAR_BASELINE} is the logistic regression", lambda name: name != LINEAR_BASELINE),
]


class Dcls(Section):
    kernel_count: int = key("elements in a kernel", ..., 1, 1000)
    dilated_kernel_size: Odd = key("side of the dense kernel in cells, odd", ..., 1, 255)
    version: Literal["gauss", "max", "v1", "v0"] = key("interpolation")
    position_std: float = key("standard deviation of the first positions, in cells; the paper: 0.5", 0.5, 0.0, 100.0)
    position_rate: float = key(
        "factor on the learning rate of positions (P) and spreads (SIG); paper: 5; 0: fixed", 5.0, 0.0, 1000.0
    )


class Model(Section):
    """What is built, and from which weights it starts."""

    backbone: Literal["convnext", "convformer", "fastvit"] = key("of the paper's three, by timm's class")
    kernel_size: Odd = key("side of the plain depthwise kernels, odd; published: 7", PUBLISHED_KERNEL_SIZE, 1, 255)
    dcls: Dcls | None = key("DCLS in place of the plain depthwise convolutions; null for plain", None)
    scale: Literal["full", "reduced"] = key("the paper's full size, or the depths and widths given here")
    depths: Several[Depth] | None = key("reduced: blocks in each of the four stages", None)
    widths: Several[Width] | None = key("reduced: channels of each of the four stages", None)
    drop_path: float = key("rate of the last block, rising linearly from 0", ..., 0.0, 0.9)
    layer_scale: Rate | None = key("start of the layer scale, null for the backbone's own", None)
    start: Literal["random", "imagenet", "published"] = key(
        "start weights; the paper: imagenet, but random for FastViT; published: the authors' trained ones", "random"
    )
    weights: Text | None = key("file (.pth, .safetensors) with the weights of `start`; null for the network", None)

    @property
    def convolution(self) -> str:
        """`7x7`, or `DCLS 26 in 23x23, gauss`."""
        if self.dcls is None:
            return f"{self.kernel_size}x{self.kernel_size}"
        side = self.dcls.dilated_kernel_size
        return f"DCLS {self.dcls.kernel_count} in {side}x{side}, {self.dcls.version}"

    def misfits(self) -> Iterator[str]:
        if self.dcls and self.kernel_size != PUBLISHED_KERNEL_SIZE:
            yield f"kernel_size: is {self.kernel_size} beside dcls, whose kernels have a size of their own; drop one"
        if self.weights and self.start == "random":
            yield f"weights: is {self.weights}, but start is random; set start or drop it"
        if self.start != "random" and self.scale == "reduced":
            yield f"start: is {self.start}, must be random at scale reduced (no such weights)"
        if self.start != "random" and not self.dcls and self.kernel_size != PUBLISHED_KERNEL_SIZE:
            yield f"start: is {self.start}, must be random with kernel_size {self.kernel_size} (no such weights)"
        for name, values in (("depths", self.depths), ("widths", self.widths)):
            if self.scale == "reduced" and len(values or ()) != 4:
                yield f"{name}: is {values and list(values)}, must be four whole numbers at scale reduced"
            if self.scale == "full" and values:
                yield f"{name}: is {list(values)}, must be null at scale full"


class Schedule(Section):
    optimizer: Literal["adamw", "lamb"] = key("the paper: lamb for ConvFormer, adamw for the others")
    epochs: int = key("passes over the training clips; 0 with start published, used as they are", ..., 0, 10_000)
    learning_rate: Rate = key("peak learning rate; positions and spreads take dcls.position_rate times it")


class System(Section):
    model: Model = key("what is built")
    schedule: Schedule = key("how it is trained, beside the recipe in `train` that all share")
    label: Text | None = key("short name in tables and figures; null: baseline or DCLS", None)
    compared_with: Annotated[tuple[SystemName, ...], AS_TUPLE, DISTINCT] = key(
        "systems that it is compared with, its baseline first; none: it is a baseline", ()
    )

    @property
    def is_dcls(self) -> bool:
        return self.model.dcls is not None

    @property
    def method(self) -> str:
        """What stands beside the backbone in tables and figures."""
        return self.label or ("DCLS" if self.is_dcls else "baseline")

    def misfits(self) -> Iterator[str]:
        if (self.schedule.epochs == 0) != (self.model.start == "published"):
            which = "must be 0 with start published, which are evaluated as they are, and at least 1 otherwise"
            yield f"schedule.epochs: is {self.schedule.epochs} with start {self.model.start}; {which}"


def system_misfits(systems: Mapping[str, System]) -> Iterator[str]:
    """What does not fit between systems and their names, each as `systems.NAME...`."""
    for name, system in systems.items():
        for other in system.compared_with:
            if other == name or other not in systems:
                yield f"systems.{name}.compared_with: is {other!r}, must be another one of {', '.join(systems)}"
        if name not in PAPER:
            continue
        backbone, baseline = PAPER[name]
        if system.model.backbone != backbone:
            yield f"systems.{name}.model.backbone: is {system.model.backbone}, must be {backbone}, as in the paper"
        if system.is_dcls != bool(baseline):
            yield f"systems.{name}.model.dcls: must be {'given' if baseline else 'null'}, as in the paper; rename it"
