"""digits: a small convnet on scikit-learn's 8x8 digits, trained here, for quick tests and for measuring overhead.

Besides serving_default it has the signatures classify and regress, which take tf.Examples with the feature pixels."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

VERSIONS = {1: None}
ACCURACY = 0.97  # on held-out digits; it reaches about 0.98
HELD_OUT = 360
TOLERANCE = 1e-4


@cache
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixels [n, 8, 8, 1] of 0..1 and digits, for training and held out."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(7).permutation(len(digits.target))
    x = (digits.images[order] / 16).astype(np.float32)[..., None]
    y = digits.target[order]
    return x[HELD_OUT:], y[HELD_OUT:], x[:HELD_OUT], y[:HELD_OUT]


@cache
def trained() -> Any:
    """The Keras model, trained."""
    import keras

    keras.utils.set_random_seed(7)
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((8, 8, 1), name="images"),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y, held_x, held_y = data()
    model.fit(x, y, epochs=12, batch_size=32, verbose=0)
    accuracy = model.evaluate(held_x, held_y, verbose=0)[1]
    if accuracy < ACCURACY:
        raise SystemExit(f"digits reads {accuracy:.1%} of the held-out digits, expected at least {ACCURACY:.0%}")
    return model


def export(folder: Path, _: Any) -> None:
    """Trains, writes the SavedModel and checks it."""
    import tensorflow as tf

    from functions.export import saved_model

    model = trained()
    examples = tf.TensorSpec([None], tf.string, "inputs")

    def pixels(serialized):
        parsed = tf.io.parse_example(serialized, {"pixels": tf.io.FixedLenFeature([64], tf.float32)})
        return tf.reshape(parsed["pixels"], [-1, 8, 8, 1])

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.float32, "images")])
    def serving_default(images):
        p = model(images, training=False)
        return {"probabilities": p, "classes": tf.argmax(p, axis=1)}

    @tf.function(input_signature=[examples])
    def classify(inputs):
        p = model(pixels(inputs), training=False)
        return {"classes": tf.tile(tf.constant([[str(d) for d in range(10)]]), [tf.shape(p)[0], 1]), "scores": p}

    @tf.function(input_signature=[examples])
    def regress(inputs):
        p = model(pixels(inputs), training=False)
        return {"outputs": tf.reduce_sum(p * tf.range(10, dtype=tf.float32), axis=1)}

    saved_model.write(
        folder,
        saved_model.Servable(model),
        {"serving_default": serving_default, "classify": classify, "regress": regress},
        {"classify": "tensorflow/serving/classify", "regress": "tensorflow/serving/regress"},
    )
    _, _, held, _ = data()
    got = saved_model.call(folder, "serving_default", images=held[:20])["probabilities"]
    saved_model.expect_close("digits", got, forward(weights_of(folder), held[:20]), TOLERANCE)


def weights_of(folder: Path) -> list[np.ndarray]:
    """The trained kernels and biases, read back from the SavedModel's checkpoint, in the order of the layers."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    names = sorted((n for n in reader.get_variable_to_shape_map() if n.startswith("weights/")), key=lambda n: int(n.split("/")[1]))
    return [reader.get_tensor(n) for n in names]


def forward(w: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """The independent forward pass in numpy: pixels [n, 8, 8, 1] to probabilities [n, 10]."""
    x = np.maximum(_convolve(x, w[0]) + w[1], 0)
    x = x.reshape(len(x), 4, 2, 4, 2, -1).max(axis=(2, 4))
    x = np.maximum(_convolve(x, w[2]) + w[3], 0)
    x = np.maximum(x.reshape(len(x), -1) @ w[4] + w[5], 0)
    e = x @ w[6] + w[7]
    e = np.exp(e - e.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A 3x3 convolution with SAME padding; kernel [3, 3, in, out]."""
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))


def reference(folder: Path, _: Any) -> None:
    """Writes 20 held-out digits with what the independent forward pass gives for the SavedModel's weights."""
    _, _, held, digits = data()
    model = folder.parents[3] / "models" / "digits" / "1"
    probabilities = forward(weights_of(model), held[:20])
    listed = {}
    for i, (x, p, digit) in enumerate(zip(held[:20], probabilities, digits)):
        x.astype("<f4").tofile(folder / f"{i}.input.f32")
        p.astype("<f4").tofile(folder / f"{i}.f32")
        best = np.argsort(-p, kind="stable")[:5]
        listed[f"digit-{i}"] = {
            "digit": int(digit),
            "top": [{"class": int(c), "score": float(p[c])} for c in best],
            "input": f"{i}.input.f32",
            "output": f"{i}.f32",
        }
    (folder / "reference.json").write_text(json.dumps({"samples": listed}, indent=1) + "\n")
