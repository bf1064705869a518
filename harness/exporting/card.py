"""The model card and timm's config.json of an exported model."""

from __future__ import annotations

from typing import Any

from harness.comparison.examples import FREE
from harness.config.systems import BACKBONES
from harness.models.build import STEMS, TIMM_NAMES
from harness.models.weights import CLASSIFIERS
from harness.records.description import Description

SIZES = {"convnext": ("depths", "dims"), "convformer": ("depths", "dims"), "fastvit": ("layers", "embed_dims")}
UNKNOWN = "unknown"


def timm_config(about: Description, features: int) -> dict[str, Any]:
    """config.json as timm writes it, with the whole description under `dcls_audio`; `features` of an embedding."""
    settings, front_end = about.model, about.front_end
    frames = 1 + round(about.clip_seconds * front_end.sample_rate) // front_end.hop
    sizes = zip(SIZES[settings.backbone], (settings.depths, settings.widths), strict=True)
    return {
        "architecture": TIMM_NAMES[settings.backbone],
        "num_classes": len(about.labels),
        "num_features": features,
        "label_names": list(about.labels),
        "model_args": {"in_chans": 1} | {key: list(values) for key, values in sizes if values},
        "pretrained_cfg": {
            "tag": about.system,
            "custom_load": False,
            "input_size": [1, front_end.mel_bands, frames],
            "fixed_input_size": False,
            "mean": [front_end.mean],
            "std": [front_end.std],
            "num_classes": len(about.labels),
            "first_conv": STEMS[settings.backbone].rstrip("."),
            "classifier": CLASSIFIERS[settings.backbone],
            "license": _licence(about),
        },
        "dcls_audio": about.model_dump(mode="json"),
    }


def card(about: Description, difference: float, checked: int) -> str:
    """README.md, as the Hugging Face hub shows it; the ONNX file's scores differ by `difference` on `checked` clips."""
    front, settings, seconds = about.front_end, about.model, f"{about.clip_seconds:g} s"
    limit = front.band_limit_hz
    first = (
        f"- resampled to {2 * limit:.0f} Hz first: the model never heard more than {limit:.0f} Hz\n" if limit else ""
    )
    licences = ", ".join(about.licences) + " (find out before you publish this)" * (UNKNOWN in about.licences)
    backbone = f"{BACKBONES[settings.backbone]} ({settings.scale} size, depthwise convolutions {settings.convolution})"
    scale = f"window {front.window}, hop {front.hop}, in dB, minus {front.mean}, over {front.std}"
    return f"""---
license: {_licence(about)}
pipeline_tag: audio-classification
tags: [audio-classification, audio-tagging, dcls, timm, onnx]
---

# {about.system}, seed {about.seed}

{backbone}, trained on `{about.preset}`
({about.data_kind}, clips of {seconds}, {len(about.labels)} classes) with the harness that reproduces
[Audio classification with DCLS](https://arxiv.org/abs/2309.13972). Licences of the recordings: {licences}.

{_metrics(about)}

## What goes in

One waveform a clip, float32 in -1..1, the mean of its channels:

{first}- {front.sample_rate} Hz, at least 1.27 s; trained on {seconds}
- the front end, which `model.onnx` holds, makes {front.mel_bands} log-mel bands of it, from {front.lowest_hz:g} to
  {front.highest_hz:g} Hz: {scale}

## Use it anywhere: `model.onnx`

```python
import json, numpy, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
waveform = numpy.zeros((1, {round(about.clip_seconds * front.sample_rate)}), numpy.float32)  # clips, samples
scores, embedding = session.run(["scores", "embedding"], {{"waveform": waveform}})
labels = json.loads(session.get_modelmeta().custom_metadata_map["dcls_audio"])["labels"]
print(sorted(zip(scores[0].tolist(), labels), reverse=True)[:5])
```

Any number of clips, of any length from 1.27 s on. On {checked} test clips, its scores were within {difference:.1g} of
PyTorch's. `scores` are sigmoids, one a class; `embedding` is what enters the classifier.

## Use it in the harness: `model.safetensors`

```console
$ python -m harness predict RECORDING... --weights model.safetensors
```

The file's metadata says all that is needed to build the model and to read recordings for it; `config.json` says it in
timm's manner. timm alone cannot build it: the stem takes one channel, and DCLS layers come from the harness.

## What made it

{_made_by(about)}

## Classes

{"; ".join(about.labels)}
"""


def _licence(about: Description) -> str:
    """Of the weights, as the hub names it: the harness's own, where the recordings' licences allow everything."""
    return "mit" if about.licences and set(about.licences) <= set(FREE) else "other"


def _metrics(about: Description) -> str:
    found: Any = about.metrics
    if not found:
        return "These weights have not been evaluated."
    return (
        f"On {found['clips']} test clips: mAP {found['mAP']:.3f} (95% interval over clips {found['mAP_low']:.3f} to "
        f"{found['mAP_high']:.3f}; chance {found['prevalence']:.3f}), mean AUC {found['mean_auc']:.3f}."
    )


def _made_by(about: Description) -> str:
    record: Any = about.record
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items() if version)
    schedule = record["parameters"]["schedule"]
    return (
        f"{schedule['epochs']} epochs of {schedule['optimizer']}, learning rate {schedule['learning_rate']:g}, start "
        f"{record['start']['start']}; {versions}. Fingerprints: code `{record['code_fingerprint']}`, data "
        f"`{record['data_fingerprint']}`. All parameters are in the metadata of `model.safetensors`."
    )
