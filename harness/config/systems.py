"""The paper's six systems, and what stands beside them, by name."""

from __future__ import annotations

MODELS = (
    "convformer_audio_s18",
    "convformer_dcls_audio_s18",
    "fastvit_audio_sa24",
    "fastvit_dcls_audio_sa24",
    "convnext_audio_tiny",
    "convnext_dcls_audio_tiny",
)

LINEAR_BASELINE = "linear_baseline"  # the trivial system that stands beside the six
CLASS_COUNTS = (527, 1000)  # AudioSet's, and the head that the paper's parameter column counts


def family_of(model: str) -> str:
    """`convnext`, `convformer` or `fastvit`."""
    return model.split("_")[0]


def is_dcls(model: str) -> bool:
    return "_dcls_" in model


def method_of(model: str) -> str:
    return "DCLS" if is_dcls(model) else "baseline"


def baseline_of(model: str) -> str:
    """The published baseline that a DCLS model is compared with (a baseline is its own)."""
    return model.replace("_dcls", "")
