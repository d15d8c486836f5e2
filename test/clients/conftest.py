"""The clients that others wrote, against one running weir: $WEIR_ADDR is its host:port, $WEIR_BUILD the folder build/."""

import os
import pathlib
import sys
import types

import numpy as np
import pytest
from PIL import Image

BUILD = pathlib.Path(os.environ["WEIR_BUILD"])


def tensorflow_messages():
    """Makes tensorflow.core.… importable without tensorflow: TensorFlow Serving's client needs only the messages in it."""
    package = types.ModuleType("tensorflow")
    package.__path__ = [str(p) for p in BUILD.glob("venv/lib/python3*/site-packages/tensorflow")]
    assert package.__path__, "TensorFlow is missing: make build"
    sys.modules["tensorflow"] = package


tensorflow_messages()


@pytest.fixture(scope="session")
def addr():
    return os.environ["WEIR_ADDR"]


@pytest.fixture(scope="session")
def digits():
    """Two digits that are none, and what is expected of the answer: the sum of the probabilities of each."""
    return np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 8, 8, 1)


@pytest.fixture(scope="session")
def coffee():
    """A photo of an espresso: as it is in its file, and as imagenet's input."""
    path = BUILD / "samples" / "coffee.png"
    return path.read_bytes()


def espresso(labels):
    assert labels[0] in (b"espresso", "espresso"), labels
