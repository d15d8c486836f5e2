"""Writes SavedModels that any TensorFlow runtime can serve, and checks them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2


class Servable(tf.Module):
    """Owns a Keras model's variables as TensorFlow's own: a runtime that is not Python does not find Keras's."""

    def __init__(self, model) -> None:
        super().__init__()
        self.weights = [v.value for v in model.variables]


def write(folder: Path, owner: tf.Module, signatures: dict[str, Callable], methods: dict[str, str] | None = None) -> None:
    """Saves signatures; `methods` names those that are not for predict, such as tensorflow/serving/classify."""
    tf.saved_model.save(owner, str(folder), signatures={k: v.get_concrete_function() for k, v in signatures.items()})
    if not methods:
        return
    file = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for name, method in methods.items():
        saved.meta_graphs[0].signature_def[name].method_name = method
    file.write_bytes(saved.SerializeToString())


def decode_image(encoded: tf.Tensor, size: int) -> tf.Tensor:
    """One encoded JPEG, PNG, GIF (its first frame) or BMP as a model takes it: [size, size, 3], normalised."""
    image = tf.cond(
        tf.strings.substr(encoded, 0, 3) == b"\xff\xd8\xff",
        # The exact transform: the default, fast one is off by up to 18 of 255.
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    sides = tf.shape(image)[:2]
    kept = tf.round(tf.cast(tf.reduce_min(sides), tf.float32) * (size / (size + 32)))
    side = tf.cast(kept, tf.int32)
    top = (sides - side) // 2
    square = tf.cast(image[top[0] : top[0] + side, top[1] : top[1] + side], tf.float32)
    resized = tf.image.resize(square[None], (size, size), method="bicubic", antialias=True)[0]
    return (resized - 127.0) / 128.0


def image_signature(size: int, answer: Callable[[tf.Tensor], dict[str, tf.Tensor]]) -> Callable:
    """A signature that takes encoded images in place of floats."""
    spec = tf.TensorSpec((size, size, 3), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def image_bytes(image_bytes):
        return answer(tf.map_fn(lambda b: decode_image(b, size), image_bytes, fn_output_signature=spec))

    return image_bytes


def call(folder: Path, signature: str, **inputs) -> dict[str, np.ndarray]:
    """Calls a signature of a SavedModel as it was written."""
    outputs = tf.saved_model.load(str(folder)).signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
    return {k: v.numpy() for k, v in outputs.items()}


def expect_close(what: str, got: np.ndarray, want: np.ndarray, tolerance: float) -> None:
    """Ends the build if two arrays differ by more than the tolerance anywhere."""
    worst = float(np.max(np.abs(got - want)))
    if got.shape != want.shape or not worst <= tolerance:
        raise SystemExit(f"{what}: off by {worst:g} from the independent forward pass, at most {tolerance:g} is fine")
