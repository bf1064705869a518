"""What the comparisons of systems say, by the rule of docs/protocol.md, and how they go with training length."""

from __future__ import annotations

import math

import pandas as pd
from scipy.special import stdtrit

from harness.report.frames import Frames

SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided at this power"
MOST_SEEDS = 1000  # of more it is said that this test set does not decide


def systems(frames: Frames) -> pd.DataFrame:
    """A row a system: `mean` of its mAP in percent over n seeds, and its 95% interval by Student's t, NaN of one."""
    found = []
    for model in frames.models:
        maps = frames.maps_of(model)
        arm = half_width(float(maps.std()), len(maps)) if len(maps) > 1 else math.nan
        found.append((model, len(maps), maps.mean(), maps.mean() - arm, maps.mean() + arm))
    frame = pd.DataFrame(found, columns=["model", "n", "mean", "low", "high"])
    convolutions = {model: frames.systems[model].model.convolution for model in frames.models}
    return frames.named(frame).assign(convolution=frame.model.map(convolutions))


def answers(frames: Frames) -> pd.DataFrame:
    """A row a comparison, in points: `mean`, `low`, `high`; `question` such as `DCLS - baseline`, and `answer`."""
    found = frames.all_comparisons
    points = {name: 100 * found[name] for name in ("mean", "sd", "low", "high", "clips_low", "clips_high")}
    found = found.assign(**points)
    methods = {model: frames.systems[model].method for model in frames.models}
    questions = [f"{methods[one.model]} - {methods[one.baseline]}" for one in found.itertuples()]
    return found.assign(question=questions, answer=[answer(one) for _, one in found.iterrows()])


def answer(pair: pd.Series) -> str:
    """Of one comparison, in words."""
    if pair.unfair:
        return f"not a fair pair: {pair.unfair}"
    if pd.isna(pair.low):
        return f"{UNDECIDED}: one seed"
    if pair.low > 0:
        return SUPPORTED
    if pair.high < 0:
        return REFUTED
    needed = seeds_needed(pair)
    return f"{UNDECIDED}: {f'{needed} seeds' if needed else 'more test clips'} would decide a difference of this size"


def seeds_needed(pair: pd.Series) -> int | None:
    """With how many seeds the interval would leave out 0, were mean, spread and clips as here; None where no number
    of them would, since the clips alone leave it open."""
    clips = pair["mean"] - pair.clips_low if pair["mean"] > 0 else pair.clips_high - pair["mean"]
    for seeds in range(int(pair.n) + 1, MOST_SEEDS + 1):
        if math.hypot(half_width(pair.sd, seeds), max(0.0, clips)) < abs(pair["mean"]):
            return seeds
    return None


def half_width(sd: float, seeds: int) -> float:
    """Of Student's 95% interval of a mean."""
    return float(stdtrit(seeds - 1, 0.975)) * sd / math.sqrt(seeds)


def by_epoch(frames: Frames) -> pd.DataFrame:
    """A row a comparison, seed and epoch that both systems have: `difference` of validation mAP in points."""
    maps = frames.histories[["model", "seed", "epoch", "val_mAP"]]
    pairs = answers(frames)
    pairs = pairs[pairs.unfair == ""][["model", "baseline", "backbone", "question"]]
    both = pairs.merge(maps, on="model").merge(
        maps, left_on=["baseline", "seed", "epoch"], right_on=["model", "seed", "epoch"], suffixes=("", "_baseline")
    )
    return both.assign(difference=100 * (both.val_mAP - both.val_mAP_baseline))


def rise_at_the_end(frames: Frames) -> pd.Series:
    """By model, by how many points validation mAP, mean over the seeds, rose over the last quarter of the epochs."""
    mean = frames.histories.groupby(["model", "epoch"]).val_mAP.mean().unstack("model")
    last = {}
    for model, curve in mean.items():
        curve = curve.dropna()
        start = curve.index.max() - max(1, round(len(curve) / 4))
        last[model] = 100 * float(curve.iloc[-1] - (curve[start] if start in curve.index else curve.iloc[0]))
    return pd.Series(last, dtype=float)


def in_short(answer: str) -> str:
    """Without what would decide it."""
    return answer.partition(":")[0]


def in_one_sentence(frames: Frames) -> str:
    """What DCLS has more than its baseline in each backbone, and than fixed spacings where they ran; empty without."""
    said: dict[str, list[str]] = {}
    for one in answers(frames).itertuples():
        is_main = one.baseline == frames.baseline_of(one.model) or "fixed" in frames.systems[one.baseline].method
        if is_main and frames.systems[one.model].method == "DCLS":
            said.setdefault(one.question, []).append(f"{one.backbone} {one.mean:+.1f} ({in_short(one.answer)})")
    parts = (f"{question}: {', '.join(each)}" for question, each in said.items())
    return f"Points of test mAP, {'; '.join(parts)}." if said else ""
