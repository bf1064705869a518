"""Batches of an epoch: their division, their gradients, and what their randomness depends on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from harness.data.clips import PackedClips
from harness.data.manifest import Row
from harness.errors import UserError
from harness.frontend import FrontEnd
from harness.models import build_model
from harness.params import Params
from harness.training import batches

COUNT, SAMPLES, SEED, EPOCH = 26, 48_000, 3, 1


@pytest.fixture(scope="module")
def clips() -> PackedClips:
    """Noise bursts of two classes, every other one labelled with both."""
    noise = np.random.default_rng(0).integers(-3000, 3000, COUNT * SAMPLES).astype(np.int16)
    rows = [
        Row(f"clip{index}", "train", "a;b" if index % 2 else "a", "", shard=0, offset=index * SAMPLES, samples=SAMPLES)
        for index in range(COUNT)
    ]
    return PackedClips(["A", "B"], ["a", "b"], rows, {0: noise}, SAMPLES)


def divided(params: Params, batch: int, micro_batch: int | None) -> batches.Division:
    return batches.divide(dataclasses.replace(params.train, batch=batch, micro_batch=micro_batch), COUNT)


def test_every_clip_of_the_whole_batches_is_taken_once(params: Params) -> None:
    division, order = divided(params, 8, 4), batches.epoch_order(SEED, EPOCH, COUNT)
    taken = [list(batches.micro_batches(division, order, step)) for step in range(division.steps)]
    assert [number for step in taken for number, _ in step] == list(range(6))
    assert [index for step in taken for _, indices in step for index in indices] == order[:24].tolist()
    assert sorted(order.tolist()) == list(range(COUNT))


def test_the_arithmetic_is_printed_and_checked(params: Params) -> None:
    assert str(divided(params, 24, 4)) == "batch 24 = 4 clips x 6 accumulated, 1 steps an epoch"
    assert divided(params, 8, None).micro_batch == 8
    with pytest.raises(UserError, match=r"train.batch: is 32, but an epoch has 26 training clips"):
        divided(params, 32, None)


def test_accumulated_gradients_are_those_of_the_whole_batch(params: Params, clips: PackedClips) -> None:
    name = "convnext_dcls_audio_tiny"  # no batch norm: a batch's clips do not meet
    torch.manual_seed(0)
    model = build_model(name, params.per_model[name], params.dcls, 2).double().train()
    division, order = divided(params, 24, 8), batches.epoch_order(SEED, EPOCH, COUNT)
    mixed = [
        batches.read_mixed(
            params.train, clips, indices, (SEED, EPOCH), batches.randomness(SEED, EPOCH, number), FrontEnd()
        )
        for number, indices in batches.micro_batches(division, order, 0)
    ]
    for log_mel, targets in mixed:
        loss = binary_cross_entropy_with_logits(model(log_mel.double()), targets.double())
        (loss / division.accumulation).backward()
    accumulated = [parameter.grad for parameter in model.parameters()]
    model.zero_grad(set_to_none=True)
    log_mel, targets = (torch.cat(parts).double() for parts in zip(*mixed, strict=True))
    binary_cross_entropy_with_logits(model(log_mel), targets).backward()
    for one, parameter in zip(accumulated, model.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad, rtol=1e-9, atol=1e-12)


def test_a_clips_augmentation_does_not_depend_on_its_batch(params: Params, clips: PackedClips) -> None:
    unmixed = dataclasses.replace(params.train, mixup_alpha=0.0)
    random = batches.randomness(SEED, EPOCH, 0)
    together, _ = batches.read_mixed(unmixed, clips, [5, 9, 2], (SEED, EPOCH), random, FrontEnd())
    alone, targets = batches.read_mixed(unmixed, clips, [9], (SEED, EPOCH), random, FrontEnd())
    other_epoch, _ = batches.read_mixed(unmixed, clips, [9], (SEED, EPOCH + 1), random, FrontEnd())
    torch.testing.assert_close(together[1], alone[0], rtol=0, atol=1e-5)
    assert not torch.allclose(alone, other_epoch)
    torch.testing.assert_close(targets, torch.tensor([[0.95, 0.95]]))  # 0.9 + 0.1 / 2 classes
