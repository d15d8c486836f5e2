"""Every element type through a real model that gives it back: Triton's clients over HTTP (as JSON and as binary data) and
gRPC, and the errors for what does not fit."""

import ml_dtypes
import numpy as np
import pytest
import requests
import tritonclient.grpc as tg
import tritonclient.http as th
from tritonclient.utils import InferenceServerException

# What has no edge in its type shows nothing: the smallest, the largest, and what is special.
VALUES = {
    "bool": ("BOOL", np.array([True, False])),
    "uint8": ("UINT8", np.array([0, 255], np.uint8)),
    "uint16": ("UINT16", np.array([0, 65535], np.uint16)),
    "uint32": ("UINT32", np.array([0, 2**32 - 1], np.uint32)),
    "uint64": ("UINT64", np.array([0, 2**64 - 1], np.uint64)),
    "int8": ("INT8", np.array([-128, 127], np.int8)),
    "int16": ("INT16", np.array([-(2**15), 2**15 - 1], np.int16)),
    "int32": ("INT32", np.array([-(2**31), 2**31 - 1], np.int32)),
    "int64": ("INT64", np.array([-(2**63), 2**63 - 1], np.int64)),
    "float16": ("FP16", np.array([6.1e-5, -65504], np.float16)),
    "bfloat16": ("BF16", np.array([1.5, -(2.0**100)], ml_dtypes.bfloat16)),
    "float32": ("FP32", np.array([1.17549435e-38, 3.4028235e38], np.float32)),
    "float64": ("FP64", np.array([5e-324, 1.7976931348623157e308], np.float64)),
    "string": ("BYTES", np.array([b"\x00\xff\xfe not UTF-8", "ü".encode()], np.object_)),
}
TEXT = np.array([b"plain", "ü".encode()], np.object_)
# JSON has no bytes, and neither Triton nor its client has BF16 and FP16 in it.
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
