"""What every peer written in Python serves: a SavedModel's signature, with the threads that a weir function uses.

MODEL_INPUT is json (numbers for the default signature) or jpeg (photos for the signature that decodes them in the graph, whose
five best classes are answered)."""

from __future__ import annotations

import base64
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
import numpy as np
import tensorflow as tf

NAME = os.environ["MODEL"]
PORT = int(os.environ["PORT"])
JPEG = os.environ["MODEL_INPUT"] == "jpeg"
# Name of the input and shape of a row.
INPUT, ROW = ("image_bytes", (1,)) if JPEG else {"digits": ("images", (8, 8, 1)), "imagenet": ("images", (224, 224, 3))}[NAME]

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(2)
_loaded = tf.saved_model.load(os.environ["MODEL_DIR"])
_signature = _loaded.signatures["image_bytes" if JPEG else "serving_default"]


def rows(instances: list) -> list:
    """What predict takes of the JSON `instances`: arrays of float32, or the bytes of photos."""
    if JPEG:
        return [base64.b64decode(i["b64"]) for i in instances]
    return list(np.asarray(instances, np.float32))


def predict(rows: list) -> np.ndarray:
    """A row of scores for each row; of photos the five best classes, as (class, score)."""
    batch = tf.constant(list(rows)) if JPEG else tf.constant(np.asarray(rows), tf.float32)
    scores = _signature(**{INPUT: batch})["probabilities"].numpy()
    if not JPEG:
        return scores
    best = np.argsort(scores, axis=1)[:, :-6:-1]
    return np.stack([best.astype(np.float32), np.take_along_axis(scores, best, axis=1)], axis=-1)


predict([tf.io.encode_jpeg(np.zeros((64, 64, 3), np.uint8)).numpy()] if JPEG else np.zeros((1, *ROW), np.float32))
