"""What the two image models share: a SavedModel of an EfficientNet-Lite, its references, and the checks between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from functions.export import efficientnet, reference, samples, weights
from functions.export.efficientnet import Variant

TOLERANCE = 1e-4


@cache
def _weights(number: int) -> dict[str, np.ndarray]:
    return weights.read(weights.efficientnet_lite(number))


@cache
def _forward(v: Variant, file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A photo's pixels, probabilities and features by the independent forward pass."""
    x = reference.pixels(file, v.size)
    return x, *reference.forward(v, _weights(v.number), x)


def keras_model(v: Variant):
    """The Keras model with its weights."""
    return efficientnet.build(v, _weights(v.number))


def write_reference(folder: Path, v: Variant, features: bool) -> None:
    """For each sample photo: what goes in and what comes out, as raw little-endian float32, and the best classes."""
    listed = {}
    for sample in samples.SAMPLES:
        x, probabilities, embedding = _forward(v, samples.path(sample))
        output = embedding if features else probabilities
        name = Path(sample.file).stem
        x.astype("<f4").tofile(folder / f"{name}.input.f32")
        output.astype("<f4").tofile(folder / f"{name}.f32")
        best = np.argsort(-probabilities, kind="stable")[:5]
        listed[sample.file] = {
            "top": [{"class": int(c), "score": float(probabilities[c])} for c in best],
            "input": f"{name}.input.f32",
            "output": f"{name}.f32",
        }
    (folder / "reference.json").write_text(json.dumps({"samples": listed}, indent=1) + "\n")


def check(v: Variant, floats: Callable[[np.ndarray], np.ndarray], images: Callable[[list[bytes]], np.ndarray] | None, features: bool) -> None:
    """Ends the build unless a model's answers are those of the independent forward pass."""
    from functions.export.saved_model import expect_close

    files = [samples.path(s) for s in samples.SAMPLES]
    batch = np.stack([_forward(v, f)[0] for f in files]).astype(np.float32)
    want = np.stack([_forward(v, f)[2 if features else 1] for f in files])
    expect_close(f"Lite{v.number} on floats", floats(batch), want, TOLERANCE)
    if images is not None:
        expect_close(f"Lite{v.number} on photos", images([f.read_bytes() for f in files]), want, TOLERANCE)


def check_labels(v: Variant, labels: list[str]) -> None:
    """Ends the build unless the known photos get the classes that a person sees."""
    for sample in samples.SAMPLES:
        _, probabilities, _ = _forward(v, samples.path(sample))
        best = labels[int(np.argmax(probabilities))]
        if sample.expected and best not in sample.expected:
            raise SystemExit(f"Lite{v.number} takes {sample.file} for {best!r}, expected one of {sample.expected}")
