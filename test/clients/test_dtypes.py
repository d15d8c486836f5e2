"""Every element type through a real model that gives it back: Triton's clients over HTTP (as JSON and as binary data) and
gRPC, and the errors for what does not fit."""

import numpy as np
import pytest
import requests
import tritonclient.grpc as tg
import tritonclient.http as th
from elements import TEXT, VALUES
from tritonclient.utils import InferenceServerException

# Neither Triton nor its client has these in JSON.
BINARY_ONLY = {"float16", "bfloat16"}


def inputs(module, as_binary=True):
    made = []
    for name, (datatype, value) in VALUES.items():
        t = module.InferInput(name, [len(value)], datatype)
        if module is tg:
            t.set_data_from_numpy(value)
        else:
            binary = as_binary or name in BINARY_ONLY
            t.set_data_from_numpy(value if binary or name != "string" else TEXT, binary_data=binary)
        made.append(t)
    return made


def check(answer, text=None):
    for name, (datatype, value) in VALUES.items():
        want = value if text is None or name != "string" else text
        got = answer.as_numpy(name)
        assert got.shape == (2,), name
        np.testing.assert_array_equal(got, want.astype(got.dtype) if got.dtype.kind == "f" else want, err_msg=name)


def test_grpc(addr):
    with tg.InferenceServerClient(addr) as client:
        answer = client.infer("dtypes", inputs(tg))
        check(answer)
        assert {o.name: o.datatype for o in answer.get_response().outputs} == {n: d for n, (d, _) in VALUES.items()}


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("got", [True, False])
def test_http(addr, sent, got):
    with th.InferenceServerClient(addr) as client:
        outputs = [th.InferRequestedOutput(n, binary_data=got or n in BINARY_ONLY or n == "string") for n in VALUES]
        check(client.infer("dtypes", inputs(th, sent), outputs=outputs), None if sent else TEXT)


@pytest.mark.parametrize("module", [tg, th])
def test_wrong_type(addr, module):
    """A tensor of another type than the signature's is refused with both names, before it reaches the model."""
    with module.InferenceServerClient(addr) as client:
        for name, (datatype, value) in VALUES.items():
            made = [t for t in inputs(module) if t.name() != name]
            other, there = ("FP64", np.float64) if datatype != "FP64" else ("FP32", np.float32)
            wrong = module.InferInput(name, [2], other)
            wrong.set_data_from_numpy(np.zeros(2, there))
            with pytest.raises(InferenceServerException, match=f"{name}.*{other}.*{datatype}|{name}.*{datatype}.*{other}"):
                client.infer("dtypes", [*made, wrong])


@pytest.mark.parametrize("name, data, words", [
    ("uint8", [256, 0], "UINT8"), ("uint8", [-1, 0], "UINT8"), ("int8", [1.5, 0], "1.5 is no INT8"), ("int64", [2**63, 0], "INT64"),
    ("bool", [2, 0], "expected true or false"), ("float32", ["a", 0], "expected a number (FP32)"), ("string", [1, 2], "string"),
    ("uint64", [2**64, 0], "UINT64"), ("float32", [1.0], "needs 2 elements"),
    ("float16", [1.0, 2.0], "send it as binary data"), ("bfloat16", [1.0, 2.0], "send it as binary data"),
])
def test_wrong_value(addr, name, data, words):
    body = {"inputs": [{"name": name, "shape": [2], "datatype": VALUES[name][0], "data": data}]}
    answer = requests.post(f"http://{addr}/v2/models/dtypes/infer", json=body)
    assert answer.status_code == 400 and words in answer.json()["error"], answer.text


def test_unknown_type(addr):
    answer = requests.post(f"http://{addr}/v2/models/dtypes/infer", json={"inputs": [{"name": "uint8", "shape": [1], "datatype": "INT4", "data": [1]}]})
    assert answer.status_code == 400 and "INT4" in answer.json()["error"] and "BF16" in answer.json()["error"], answer.text
