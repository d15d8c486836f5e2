"""SavedModels for tests only: shapes and types that no sample model has."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from functions.export import saved_model

DTYPES = ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "bfloat16",
          "float32", "float64", "string")


def half_plus_two(folder: Path) -> None:
    """TensorFlow Serving's classic: y = x / 2 + 2, with signatures to classify and to regress."""
    owner = tf.Module()
    owner.a, owner.b = tf.Variable(0.5), tf.Variable(2.0)
    features = {"x": tf.io.FixedLenFeature([1], tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def predict(x):
        return {"y": owner.a * x + owner.b}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(inputs):
        return {"outputs": owner.a * tf.io.parse_example(inputs, features)["x"] + owner.b}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(inputs):
        return {"scores": owner.a * tf.io.parse_example(inputs, features)["x"] + owner.b}

    saved_model.write(
        folder, owner, {"serving_default": predict, "regress_x_to_y": regress, "classify_x_to_y": classify},
        {"regress_x_to_y": "tensorflow/serving/regress", "classify_x_to_y": "tensorflow/serving/classify"},
    )


def dtypes(folder: Path) -> None:
    """An echo of every element type, and signatures with a scalar, with any rank, with a fixed shape, with two inputs."""
    echo_specs = [tf.TensorSpec([None], getattr(tf, name), name) for name in DTYPES]

    @tf.function(input_signature=echo_specs)
    def echo(*tensors):
        return {name: tf.identity(t) for name, t in zip(DTYPES, tensors)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "x")])
    def scalar(x):
        return {"y": x + 1}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "x")])
    def any_rank(x):
        return {"y": x * 2}

    @tf.function(input_signature=[tf.TensorSpec([2, 3], tf.float32, "x")])
    def fixed(x):
        return {"y": tf.reduce_sum(x, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, n) for n in ("a", "b")])
    def add(a, b):
        return {"sum": a + b, "difference": a - b}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.string, "text")])
    def text(text):
        return {"upper": tf.strings.upper(text), "length": tf.strings.length(text)}

    signatures = {"serving_default": echo, "scalar": scalar, "any_rank": any_rank, "fixed": fixed, "add": add, "text": text}
    saved_model.write(folder, tf.Module(), signatures)


def images_only(folder: Path) -> None:
    """A model that takes only float images, 4x4, and gives them back: what a preprocessing graph made can be seen."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 3], tf.float32, "images")])
    def same(images):
        return {"seen": tf.identity(images)}

    saved_model.write(folder, tf.Module(), {"serving_default": same})


FIXTURES = {"half_plus_two": half_plus_two, "dtypes": dtypes, "images_only": images_only}
