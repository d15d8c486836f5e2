"""An independent forward pass: EfficientNet-Lite in numpy from the raw weights, batch normalisation as it stands, pictures
decoded and resized by Pillow. It shares nothing with the Keras models but the list of blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from functions.export import efficientnet
from functions.export.efficientnet import EPSILON, Variant


def pixels(photo: Path, size: int) -> np.ndarray:
    """A photo as a model takes it, [size, size, 3]: centre crop of size/(size+32), bicubic resize, (x - 127) / 128."""
    image = np.asarray(Image.open(photo).convert("RGB"), np.float32)
    height, width = image.shape[:2]
    side = int(np.round(np.float32(min(height, width)) * np.float32(size / (size + 32))))
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    channels = [Image.fromarray(square[:, :, c]).resize((size, size), Image.Resampling.BICUBIC) for c in range(3)]
    return (np.stack([np.asarray(c) for c in channels], axis=-1) - 127) / 128


def forward(v: Variant, w: dict[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [1000] and features [1280] of one normalised picture [size, size, 3]."""
    x = _relu6(_norm(w, "_bn0", _convolve(x, w["_conv_stem.weight"], 2)))
    for i, block in enumerate(efficientnet.blocks(v)):
        p, skip = f"_blocks.{i}.", x
        if block.expand != 1:
            x = _relu6(_norm(w, p + "_bn0", _convolve(x, w[p + "_expand_conv.weight"], 1)))
        x = _relu6(_norm(w, p + "_bn1", _depthwise(x, w[p + "_depthwise_conv.weight"], block.stride)))
        x = _norm(w, p + "_bn2", _convolve(x, w[p + "_project_conv.weight"], 1))
        if block.stride == 1 and block.inputs == block.outputs:
            x = x + skip
    features = _relu6(_norm(w, "_bn1", _convolve(x, w["_conv_head.weight"], 1))).mean(axis=(0, 1))
    logits = w["_fc.weight"] @ features + w["_fc.bias"]
    e = np.exp(logits - logits.max())
    return (e / e.sum()).astype(np.float32), features.astype(np.float32)


def _relu6(x: np.ndarray) -> np.ndarray:
    return np.clip(x, 0, 6)


def _norm(w: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    deviation = np.sqrt(w[name + ".running_var"] + EPSILON)
    return (x - w[name + ".running_mean"]) / deviation * w[name + ".weight"] + w[name + ".bias"]


def _padded(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """TensorFlow's SAME padding: what is odd goes below and to the right."""
    pads = []
    for side in x.shape[:2]:
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads.append((total // 2, total - total // 2))
    return np.pad(x, (*pads, (0, 0)))


def _taps(x: np.ndarray, kernel: int, stride: int):
    """For each place in the kernel, the pixels under it."""
    height, width = -(-x.shape[0] // stride), -(-x.shape[1] // stride)
    padded = _padded(x, kernel, stride)
    for i in range(kernel):
        for j in range(kernel):
            yield i, j, padded[i : i + height * stride : stride, j : j + width * stride : stride][:height, :width]


def _convolve(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    return sum(tap @ kernel[:, :, i, j].T for i, j, tap in _taps(x, kernel.shape[2], stride))


def _depthwise(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    return sum(tap * kernel[:, 0, i, j] for i, j, tap in _taps(x, kernel.shape[2], stride))
