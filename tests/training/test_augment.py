"""Each augmentation against its definition, on a real-valued ramp whose samples name their own places."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.config.params import Params
from harness.training import augment
from harness.training.augment import Draws

RAMP = np.arange(1, 1001, dtype=np.float32)


def changed_ramp(draws: Draws) -> np.ndarray:
    """The ramp after roll and speed change, beside a clip that is left alone."""
    still = Draws(0.0, None, 0.0, None)
    pair = augment.roll_and_speed(torch.from_numpy(np.stack([RAMP, RAMP])), [still, draws])
    np.testing.assert_array_equal(pair[0], RAMP)
    return pair[1].numpy()


def test_roll_is_circular() -> None:
    rolled = changed_ramp(Draws(shift=0.25, rate=None, place=0.0, erase=None))
    np.testing.assert_array_equal(rolled, np.concatenate([RAMP[750:], RAMP[:750]]))


@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("rate", [0.5, 0.8, 1.0, 1.25, 1.5])
def test_speed_takes_the_nearest_sample_and_keeps_the_length(rate: float, place: float) -> None:
    changed = changed_ramp(Draws(0.0, rate, place, None))
    assert changed.shape == RAMP.shape
    sounding = np.flatnonzero(changed)
    if rate > 1:  # shortened, zeros around one unbroken raw that holds the whole ramp
        assert sounding.size == int(1000 / rate) and np.ptp(sounding) == sounding.size - 1
        assert changed[sounding[0]] == 1
        assert (sounding[0] == 0) == (place == 0.0)
    else:
        assert sounding.size == 1000
    steps = np.arange(sounding.size) * rate
    assert np.abs(changed[sounding] - changed[sounding[0]] - steps).max() <= 1.0


@pytest.mark.parametrize("samples", [1001, 40_960, 320_000])
def test_every_sample_is_the_one_of_the_definition(params: Params, samples: int) -> None:
    clips = torch.randn(12, samples, generator=torch.Generator().manual_seed(0))
    train = params.train.model_copy(update={"speed_probability": 0.75})
    draws = [augment.draw(train, augment.generator(samples, index), 513, 251) for index in range(12)]
    draws[:2] = [Draws(0.0, 0.5, 0.999, None), Draws(0.999, 1.5, 0.0, None)]
    moved = augment.roll_and_speed(clips, draws).numpy()
    for clip, draw, found in zip(clips.numpy(), draws, moved, strict=True):
        np.testing.assert_array_equal(found, defined(clip, draw))


def defined(clip: np.ndarray, draw: Draws) -> np.ndarray:
    """Roll, then the nearest sample at the rate, then zeros around it or a cut, each of the whole clip."""
    samples = clip.size
    rolled = np.roll(clip, int(draw.shift * samples))
    if draw.rate is None:
        return rolled
    nearest = np.minimum(np.rint(np.arange(int(samples / draw.rate)) * np.float64(draw.rate)), samples - 1)
    changed = rolled[nearest.astype(np.int64)]
    start = int(draw.place * (abs(changed.size - samples) + 1))
    if changed.size >= samples:
        return changed[start : start + samples]
    return np.pad(changed, (start, samples - changed.size - start))


def test_erasing_zeroes_a_rectangle_of_the_stated_area_and_aspect(params: Params) -> None:
    train = params.train.model_copy(update={"erase_probability": 1.0})
    power = torch.ones(300, 513, 251)
    draws = [augment.draw(train, augment.generator(0, 0, index), 513, 251) for index in range(300)]
    assert [one.erase is None for one in draws].count(True) < 30
    augment.erase(power, draws)
    for sample, one in zip(power, draws, strict=True):
        rows, columns = (sample == 0).any(1).sum().item(), (sample == 0).any(0).sum().item()
        if one.erase is None:
            assert rows == 0
            continue
        assert one.erase[2:] == (rows, columns) and (sample == 0).sum().item() == rows * columns
        assert 0.015 < rows * columns / sample.numel() < 0.34
        assert 0.28 < rows / columns < 3.6


def test_mixup_mixes_clips_and_targets_with_one_weight() -> None:
    log_mel, targets = torch.randn(4, 1, 2, 3), torch.eye(4)
    mixed, mixed_targets = augment.mixup(log_mel, targets, 0.8, augment.generator(5))
    weight = float(augment.generator(5).beta(0.8, 0.8))
    torch.testing.assert_close(mixed, weight * log_mel + (1 - weight) * log_mel.flip(0))
    torch.testing.assert_close(mixed_targets, weight * targets + (1 - weight) * targets.flip(0))
    assert augment.mixup(log_mel, targets, 0.0, augment.generator(5))[0] is log_mel


def test_draws_depend_on_the_key_alone_and_follow_the_probabilities(params: Params) -> None:
    def draws() -> list[Draws]:
        return [augment.draw(params.train, augment.generator(3, 1, index), 513, 251) for index in range(2000)]

    first = draws()
    assert first == draws()
    assert np.mean([one.rate is not None for one in first]) == pytest.approx(0.5, abs=0.04)
    assert np.mean([one.erase is not None for one in first]) == pytest.approx(0.25, abs=0.04)
    rates = [one.rate for one in first if one.rate is not None]
    assert 0.5 <= min(rates) < 0.52 and 1.48 < max(rates) <= 1.5
