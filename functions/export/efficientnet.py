"""EfficientNet-Lite in Keras, with weights from PyTorch.

Lite has no squeeze-and-excite, ReLU6 for swish, and stem, head, first and last stage as in B0 whatever the size. Each
batch normalisation is folded into the convolution before it: the numbers stay, the work goes.
Source: github.com/tensorflow/tpu, models/official/efficientnet/lite."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

EPSILON = 1e-3
CLASSES = 1000
FEATURES = 1280


class Variant(NamedTuple):
    """A size of EfficientNet-Lite: how much wider and deeper than Lite0, and its picture's side in pixels."""

    number: int
    width: float
    depth: float
    size: int


LITE0 = Variant(0, 1.0, 1.0, 224)
LITE2 = Variant(2, 1.1, 1.2, 260)


class Block(NamedTuple):
    """An inverted residual: kernel side, stride, expansion, channels in and out."""

    kernel: int
    stride: int
    expand: int
    inputs: int
    outputs: int


# repeats, kernel, stride, expansion, channels in, channels out
STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


def blocks(v: Variant) -> list[Block]:
    """The blocks of a variant, first to last."""
    out = []
    for i, (repeats, kernel, stride, expand, inputs, outputs) in enumerate(STAGES):
        fixed = i in (0, len(STAGES) - 1)
        inputs = 32 if i == 0 else _width(inputs, v.width)
        outputs = _width(outputs, v.width)
        for r in range(repeats if fixed else math.ceil(repeats * v.depth)):
            out.append(Block(kernel, stride if r == 0 else 1, expand, inputs if r == 0 else outputs, outputs))
    return out


def _width(channels: int, factor: float) -> int:
    """Channels times a factor, as a multiple of 8 that is not more than a tenth less."""
    if factor == 1:
        return channels
    wanted = channels * factor
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def build(v: Variant, weights: dict[str, np.ndarray]):
    """A Keras model: float32 [n, size, size, 3], normalised, to probabilities [n, 1000] and features [n, 1280]."""
    import keras

    layers = keras.layers
    filled = []

    def convolve(x, name: str, norm: str, stride: int = 1, relu: bool = True, depthwise: bool = False):
        kernel, bias = _folded(weights, name, norm, depthwise)
        options = {"strides": stride, "padding": "same", "name": name.strip("_").replace(".", "_")}
        side = kernel.shape[:2]
        layer = layers.DepthwiseConv2D(side, **options) if depthwise else layers.Conv2D(kernel.shape[3], side, **options)
        x = layer(x)
        filled.append((layer, [kernel, bias]))
        return layers.ReLU(max_value=6.0)(x) if relu else x

    images = keras.Input((v.size, v.size, 3), name="images")
    x = convolve(images, "_conv_stem", "_bn0", stride=2)
    for i, block in enumerate(blocks(v)):
        p, skip = f"_blocks.{i}.", x
        if block.expand != 1:
            x = convolve(x, p + "_expand_conv", p + "_bn0")
        x = convolve(x, p + "_depthwise_conv", p + "_bn1", stride=block.stride, depthwise=True)
        x = convolve(x, p + "_project_conv", p + "_bn2", relu=False)
        if block.stride == 1 and block.inputs == block.outputs:
            x = layers.Add()([x, skip])
    features = layers.GlobalAveragePooling2D(name="features")(convolve(x, "_conv_head", "_bn1"))
    classifier = layers.Dense(CLASSES, activation="softmax", name="classifier")
    probabilities = classifier(features)
    filled.append((classifier, [weights["_fc.weight"].T, weights["_fc.bias"]]))
    for layer, values in filled:
        layer.set_weights(values)
    return keras.Model(images, {"probabilities": probabilities, "features": features})


def _folded(weights: dict[str, np.ndarray], name: str, norm: str, depthwise: bool) -> tuple[np.ndarray, np.ndarray]:
    """A convolution's kernel in Keras's order and its bias, with the batch normalisation after it folded in."""
    gain = weights[norm + ".weight"] / np.sqrt(weights[norm + ".running_var"] + EPSILON)
    bias = weights[norm + ".bias"] - weights[norm + ".running_mean"] * gain
    kernel = weights[name + ".weight"] * gain[:, None, None, None]  # [out, in, height, width]
    return kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0)), bias
