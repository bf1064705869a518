"""Batches of an epoch: their division, their gradients, and what their randomness depends on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data._utils.pin_memory import pin_memory

from harness.audio.front_end import FrontEnd
from harness.base.errors import UserError
from harness.config.params import Params
from harness.data.clips.clips import PackedClips
from harness.data.clips.manifest import Row
from harness.models.build import build_model
from harness.training import batches, reading

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


def divided(params: Params, batch: int, micro_batch: int | None, processes: int = 1) -> batches.Division:
    return batches.divide(
        params.train.model_copy(update={"batch": batch, "micro_batch": micro_batch}), COUNT, processes
    )


def raw_batches(
    clips: PackedClips, division: batches.Division, numbers: list[int], workers: int = 0
) -> list[reading.RawBatch]:
    order = batches.epoch_order(SEED, EPOCH, COUNT)
    return list(reading.read(clips, order, division.micro_batch, numbers, workers))


def piece_of(clips: PackedClips, indices: list[int]) -> reading.RawBatch:
    waveform = torch.from_numpy(np.stack([clips.waveform(index) for index in indices]))
    return reading.RawBatch(0, indices, waveform, torch.from_numpy(clips.targets[indices]))


@pytest.mark.parametrize("workers", [0, 2])
def test_every_clip_of_the_whole_batches_is_taken_once(params: Params, clips: PackedClips, workers: int) -> None:
    division, order = divided(params, 8, 4), batches.epoch_order(SEED, EPOCH, COUNT)
    taken = raw_batches(clips, division, batches.numbers_of(division, 0, 0), workers)
    assert [raw.number for raw in taken] == list(range(6))
    assert [index for raw in taken for index in raw.indices] == order[:24].tolist()
    assert sorted(order.tolist()) == list(range(COUNT))
    for raw in taken:
        torch.testing.assert_close(raw.waveform, piece_of(clips, raw.indices).waveform, rtol=0, atol=0)


def test_torch_pins_a_piece_by_its_own_method(clips: PackedClips, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[torch.Tensor] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:  # what only a machine with a GPU can do
        pinned.append(tensor.clone())
        return pinned[-1]

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    raw = piece_of(clips, [3, 1])
    found = pin_memory(raw)
    assert isinstance(found, reading.RawBatch) and (found.number, found.indices) == (0, [3, 1])
    assert found.waveform is pinned[0] and found.targets is pinned[1]
    torch.testing.assert_close((found.waveform, found.targets), (raw.waveform, raw.targets), rtol=0, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("workers", [0, 2])
def test_beside_a_gpu_pieces_are_pinned(params: Params, clips: PackedClips, workers: int) -> None:
    division = divided(params, 8, 4)
    for raw in raw_batches(clips, division, batches.numbers_of(division, 0, 0), workers):
        assert raw.waveform.is_pinned() and raw.targets.is_pinned()


@pytest.mark.parametrize("processes", [1, 2, 3, 6])
def test_processes_share_the_micro_batches_of_each_step(params: Params, processes: int) -> None:
    division = divided(params, 12, 2, processes)
    shares = [batches.numbers_of(division, rank, 1) for rank in range(processes)]
    assert all(len(share) == division.accumulation == 6 // processes for share in shares)
    in_order_of_ranks = [number for share in shares for number in share]
    assert in_order_of_ranks == list(range(6, 12))  # the second of two steps


def test_the_arithmetic_is_printed_and_checked(params: Params) -> None:
    assert str(divided(params, 24, 4, 2)) == "batch 24 = 4 clips x 3 accumulated x 2 processes, 1 steps an epoch"
    assert divided(params, 8, None).micro_batch == 8
    with pytest.raises(UserError, match=r"train.batch: is 32, but an epoch has 26 training clips"):
        divided(params, 32, None)
    with pytest.raises(UserError, match=r"train.batch: is 24, must be a multiple of the 5 processes"):
        divided(params, 24, 4, 5)
    with pytest.raises(UserError, match=r"train.micro_batch: is 8, but 2 processes share train.batch, 24; make it 12 "):
        divided(params, 24, 8, 2)
    with pytest.raises(UserError, match=r"train.micro_batch: is 24, but 2 processes share"):
        divided(params, 24, None, 2)


def test_accumulated_gradients_are_those_of_the_whole_batch(params: Params, clips: PackedClips) -> None:
    name = "convnext_dcls_audio_tiny"  # no batch norm: a batch's clips do not meet
    torch.manual_seed(0)
    model = build_model(params.systems[name].model, 2).double().train()
    division = divided(params, 24, 8)
    mixed = [
        batches.prepare(params.train, raw, (SEED, EPOCH), FrontEnd())
        for raw in raw_batches(clips, division, batches.numbers_of(division, 0, 0))
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
    unmixed = params.train.model_copy(update={"mixup_alpha": 0.0})
    together, _ = batches.prepare(unmixed, piece_of(clips, [5, 9, 2]), (SEED, EPOCH), FrontEnd())
    alone, targets = batches.prepare(unmixed, piece_of(clips, [9]), (SEED, EPOCH), FrontEnd())
    other_epoch, _ = batches.prepare(unmixed, piece_of(clips, [9]), (SEED, EPOCH + 1), FrontEnd())
    torch.testing.assert_close(together[1], alone[0], rtol=0, atol=1e-5)
    assert not torch.allclose(alone, other_epoch)
    torch.testing.assert_close(targets, torch.tensor([[0.95, 0.95]]))  # 0.9 + 0.1 / 2 classes


@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_that_cannot_be_read_stops_with_its_own_line(params: Params, clips: PackedClips, workers: int) -> None:
    class Broken(PackedClips):
        def waveform(self, index: int) -> np.ndarray:
            raise UserError(f"train.h5: row {index} cannot be read")

    broken = Broken(clips.labels, clips.mids, clips.rows, clips.shards, clips.samples)
    with pytest.raises(UserError, match=r"^train.h5: row \d+ cannot be read$"):
        raw_batches(broken, divided(params, 8, 4), [0], workers)
