"""What a cell stands for, against torchaudio's filters and the feature maps of the models themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchaudio

from harness.audio.front_end import FrontEnd
from harness.audio.units import HOP, SAMPLE_RATE, band_centres, band_spacing, cell_size
from harness.config.params import Params
from harness.models.build import build_model


def test_band_centres_are_where_the_filters_peak() -> None:
    filters = torchaudio.functional.melscale_fbanks(20001, 50.0, 14000.0, 128, 32000)  # 0.8 Hz apart
    peaks = filters.argmax(0) * 16000 / 20000
    assert band_centres() == pytest.approx(peaks.tolist(), abs=0.9)
    assert band_spacing(1000) == pytest.approx(peaks.diff()[(peaks[:-1] - 1000).abs().argmin()].item(), rel=0.05)


@pytest.mark.parametrize("name", ["convformer_dcls_audio_s18", "fastvit_dcls_audio_sa24", "convnext_dcls_audio_tiny"])
def test_cells_are_the_feature_maps_of_the_models(params: Params, name: str) -> None:
    """1280 frames, which the cells of every stage divide."""
    model = build_model(params.systems[name].model, 3).eval()
    sizes: dict[Any, tuple[int, ...]] = {}

    def note(module: Any, inputs: tuple[torch.Tensor, ...], _: Any) -> None:
        sizes.setdefault(module.P, tuple(inputs[0].shape[2:]))

    for module in model.modules():
        if hasattr(module, "P"):
            module.register_forward_hook(note)
    with torch.inference_mode():
        log_mel = FrontEnd()(torch.zeros(1, 1280 * HOP))[..., :1280]
        model(log_mel)
    assert len(sizes) == 4
    for stage, (rows, columns) in enumerate(sizes.values(), start=1):
        bands, milliseconds = cell_size(stage)
        assert rows * bands == 128 and columns * milliseconds == 1000 * 1280 * HOP / SAMPLE_RATE
