"""What in the parameters no single value shows: values that do not go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.base.errors import UserError
from harness.config.strict import nearest
from harness.config.systems import MODELS, baseline_of

if TYPE_CHECKING:  # which imports this module
    from harness.config.params import Data, Params


def check(params: Params) -> None:
    """Raises UserError naming the key, the value and what is allowed."""
    for name in ("models", "seeds", "linear_baseline_seeds"):
        values = getattr(params, name)
        if len(set(values)) != len(values):
            raise UserError(f"{name}: is {list(values)}, must not name one twice")
    if not params.preset.replace("-", "").replace("_", "").isalnum() or len(params.preset) > 64:
        raise UserError(
            f"preset: is {params.preset!r}, must be letters, digits, - and _, at most 64 (it names folders)"
        )
    _check_data(params.data)
    if params.dcls.dilated_kernel_size % 2 == 0:
        raise UserError(f"dcls.dilated_kernel_size: is {params.dcls.dilated_kernel_size}, must be odd")
    if params.train.speed_low > params.train.speed_high:
        raise UserError(f"train.speed_low: is {params.train.speed_low}, must be at most train.speed_high")
    micro_batch = params.train.micro_batch
    if micro_batch is not None and params.train.batch % micro_batch:
        raise UserError(f"train.micro_batch: is {micro_batch}, must divide train.batch, which is {params.train.batch}")
    if params.train.compile and params.train.activation_checkpointing:
        raise UserError("train.compile: is true with train.activation_checkpointing true; choose one of them")
    for model, settings in params.per_model.items():
        if model not in MODELS:
            raise UserError(f"per_model.{model}: unknown model{nearest(model, MODELS)}; known: {', '.join(MODELS)}")
        if (settings.epochs == 0) != (settings.start == "published"):
            raise UserError(
                f"per_model.{model}.epochs: is {settings.epochs} with start {settings.start}; "
                "must be 0 with start published, which are evaluated as they are, and at least 1 otherwise"
            )
        if settings.weights and settings.start == "random":
            raise UserError(
                f"per_model.{model}.weights: is {settings.weights}, but start is random; set start or drop it"
            )
        if settings.start != "random" and settings.scale == "reduced":
            raise UserError(
                f"per_model.{model}.start: is {settings.start}, must be random at scale reduced (no such weights)"
            )
        for name in ("depths", "widths"):
            values = getattr(settings, name)
            if settings.scale == "reduced" and (values is None or len(values) != 4):
                raise UserError(f"per_model.{model}.{name}: is {values}, must be four whole numbers at scale reduced")
            if settings.scale == "full" and values is not None:
                raise UserError(f"per_model.{model}.{name}: is {list(values)}, must be null at scale full")
    for model in params.models:
        if model not in params.per_model:
            raise UserError(f"per_model.{model}: missing; every model in `models` needs its settings")
        mine, base = params.per_model[model], params.per_model.get(baseline_of(model))
        if base and (mine.scale, mine.depths, mine.widths) != (base.scale, base.depths, base.widths):
            raise UserError(
                f"per_model.{model}: scale, depths and widths must equal those of {baseline_of(model)}, to compare"
            )


def _check_data(data: Data) -> None:
    """The sources that `folder` and `audioset` need, and that none is named twice."""
    if data.kind == "folder" and not data.csv:
        raise UserError("data.csv: missing; data.kind folder needs a CSV with the columns path, labels, split")
    if data.label_list not in ("used", "audioset") and not data.label_list.lower().endswith(".csv"):
        raise UserError(f"data.label_list: is {data.label_list!r}, must be used, audioset, or the path of a .csv file")
    if data.kind != "audioset":
        return
    if data.label_list == "used":
        raise UserError("data.label_list: is 'used', must be audioset or the path of a .csv file at data.kind audioset")
    given = data.audioset
    if given is None or bool(given.audio) == bool(given.test_hdf5):
        raise UserError("data.audioset: must name either audio, with test_segments, or test_hdf5 at data.kind audioset")
    if given.audio and not given.test_segments:
        raise UserError("data.audioset.test_segments: missing; audio needs the segment CSV of the clips to test on")
    if given.audio and (given.train_hdf5 or given.val_hdf5):
        raise UserError("data.audioset.audio: must be null with train_hdf5 or val_hdf5")
    for kind in ("segments", "hdf5"):
        train, val, test = (getattr(given, f"{split}_{kind}") for split in ("train", "val", "test"))
        named = [*(train or ()), *([val] if val else []), *([test] if test else [])]
        twice = next((name for name in named if named.count(name) > 1), None)
        if twice:
            raise UserError(f"data.audioset: {twice} is named twice; a file must train, validate or test")
    if (given.train_segments or given.train_hdf5) and not (given.val_segments or given.val_hdf5 or given.val_fraction):
        raise UserError("data.audioset.val_fraction: is 0.0, must be above 0 without val_segments and val_hdf5")
