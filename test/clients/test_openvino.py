"""OpenVINO Model Server's client: TensorFlow Serving's APIs, with 0 for the latest version."""

import numpy as np
import pytest
from ovmsclient import make_grpc_client, make_http_client
from ovmsclient.tfs_compat.base.errors import InvalidInputError, ModelNotFoundError


@pytest.fixture(params=[make_grpc_client, make_http_client])
def client(request, addr):
    return request.param(addr)


def test_status_and_metadata(client):
    assert client.get_model_status("digits")[1]["state"] == "AVAILABLE"
    meta = client.get_model_metadata("digits")
    # Over REST the client passes on what the server says.
    assert meta["model_spec"]["version"] == "1" if "model_spec" in meta else meta["inputs"]["images"]["shape"] == [-1, 8, 8, 1]


def test_predict(client, digits):
    latest, named = (client.predict({"images": digits}, "digits", **kw) for kw in ({}, {"model_version": 1}))
    assert latest["probabilities"].shape == (2, 10)
    np.testing.assert_array_equal(latest["probabilities"], named["probabilities"])


def test_mistakes(client, digits):
    with pytest.raises(ModelNotFoundError):
        client.get_model_status("absent")
    with pytest.raises(ModelNotFoundError):
        client.predict({"images": digits}, "digits", model_version=9)
    with pytest.raises(InvalidInputError):
        client.predict({"images": np.zeros((1, 3), np.float32)}, "digits")
