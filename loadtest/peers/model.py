"""What every peer written in Python serves: a SavedModel's default signature, with the threads that a weir function uses."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import tensorflow as tf

NAME = os.environ["MODEL"]
PORT = int(os.environ["PORT"])
# Name of the input, shape of a row and name of the output.
INPUT, ROW, OUTPUT = {
    "digits": ("images", (8, 8, 1), "probabilities"),
    "imagenet": ("images", (224, 224, 3), "probabilities"),
}[NAME]

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(2)
_loaded = tf.saved_model.load(os.environ["MODEL_DIR"])
_signature = _loaded.signatures["serving_default"]


def predict(rows: np.ndarray) -> np.ndarray:
    """Rows in, one row of scores for each out."""
    return _signature(**{INPUT: tf.constant(rows, tf.float32)})[OUTPUT].numpy()


predict(np.zeros((1, *ROW), np.float32))
