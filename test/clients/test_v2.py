"""The Open Inference Protocol: tritonclient over gRPC and HTTP, blocking and asyncio."""

import asyncio

import grpc
import numpy as np
import pytest
import requests
import tritonclient.grpc as tg
import tritonclient.grpc.aio as tga
import tritonclient.http as th
import tritonclient.http.aio as tha
from conftest import espresso
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

KINDS = {"grpc": tg, "http": th}


@pytest.fixture(params=KINDS)
def triton(request, addr):
    module = KINDS[request.param]
    client = module.InferenceServerClient(addr)
    yield module, client
    client.close()


def tensor(module, name, value):
    t = module.InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
    t.set_data_from_numpy(value)
    return t


def test_server(triton):
    module, client = triton
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("digits")
    meta = client.get_server_metadata()
    assert (meta["name"] if module is th else meta.name) == "weir"


def test_metadata(triton):
    module, client = triton
    as_json = {} if module is th else {"as_json": True}
    meta = client.get_model_metadata("digits", **as_json)
    assert meta["inputs"][0]["name"] == "images" and [int(d) for d in meta["inputs"][0]["shape"]] == [-1, 8, 8, 1]
    config = client.get_model_config("digits", **as_json)
    config = config.get("config", config)
    assert config["max_batch_size"] > 1 and [int(d) for d in config["input"][0]["dims"]] == [8, 8, 1]
    # A number for each row: PyTriton's client refuses a configuration with empty dims.
    classes = config["output"][0]
    assert classes["name"] == "classes" and [int(d) for d in classes["dims"]] == [1] and classes["reshape"].get("shape", []) == []


def test_repository(triton):
    module, client = triton
    models = client.get_model_repository_index()
    names = {m["name"] if module is th else m.name for m in (models if module is th else models.models)}
    assert {"digits", "imagenet"} <= names
    client.load_model("digits")
    with pytest.raises(InferenceServerException, match="unloaded when nobody has asked"):
        client.unload_model("digits")


def test_infer(triton, digits):
    module, client = triton
    inputs = [tensor(module, "images", digits)]
    answer = client.infer("digits", inputs, request_id="7", model_version="1")
    assert answer.get_response()["id"] == "7" if module is th else answer.get_response().id == "7"
    assert answer.as_numpy("classes").shape == (2,)
    np.testing.assert_allclose(answer.as_numpy("probabilities").sum(axis=1), 1, atol=1e-5)
    only = client.infer("digits", inputs, outputs=[module.InferRequestedOutput("classes")])
    assert only.as_numpy("probabilities") is None and (only.as_numpy("classes") == answer.as_numpy("classes")).all()


def test_binary_and_json(addr, digits):
    """Over HTTP each tensor goes as binary data or as JSON, in both directions."""
    with th.InferenceServerClient(addr) as client:
        want = None
        for sent in (True, False):
            for got in (True, False):
                t = th.InferInput("images", list(digits.shape), "FP32")
                t.set_data_from_numpy(digits, binary_data=sent)
                outputs = [th.InferRequestedOutput("probabilities", binary_data=got), th.InferRequestedOutput("classes", binary_data=not got)]
                answer = client.infer("digits", [t], outputs=outputs)
                want = answer.as_numpy("probabilities") if want is None else want
                np.testing.assert_allclose(answer.as_numpy("probabilities"), want, atol=1e-6)
                assert answer.as_numpy("classes").shape == (2,)


def test_compression(addr, digits):
    with th.InferenceServerClient(addr) as client:
        inputs = [tensor(th, "images", digits)]
        for how in ("gzip", "deflate"):
            answer = client.infer("digits", inputs, request_compression_algorithm=how, response_compression_algorithm=how)
            assert answer.as_numpy("classes").shape == (2,)
    with tg.InferenceServerClient(addr) as client:
        for how in (None, "gzip", "deflate"):
            answer = client.infer("digits", [tensor(tg, "images", digits)], compression_algorithm=how)
            assert answer.as_numpy("classes").shape == (2,)


def test_no_numbers_in_json(addr, digits):
    """What is no number: as Triton's client writes it, and, in a request of Python's None, as MLServer's does."""
    with th.InferenceServerClient(addr) as client:
        t = th.InferInput("images", list(digits.shape), "FP32")
        t.set_data_from_numpy(np.where(digits > 0.5, np.nan, np.inf).astype(np.float32), binary_data=False)
        assert client.infer("digits", [t], outputs=[th.InferRequestedOutput("classes")]).as_numpy("classes").shape == (2,)
    data = [None if v > 0.5 else float(v) for v in digits.ravel()]
    images = {"name": "images", "shape": list(digits.shape), "datatype": "FP32", "data": data, "parameters": None}
    request = {"id": None, "parameters": {"content_type": None}, "inputs": [images], "outputs": [{"name": "classes", "parameters": None}]}
    for more in ({}, {"parameters": None}):
        answer = requests.post(f"http://{addr}/v2/models/digits/infer", json=request | more)
        assert answer.status_code == 200 and len(answer.json()["outputs"][0]["data"]) == 2, answer.text


def test_raw_beside_empty_contents(addr, digits):
    """As MLServer's client sends raw contents."""
    request = service_pb2.ModelInferRequest(model_name="digits", raw_input_contents=[digits.tobytes()])
    request.inputs.add(name="images", datatype="FP32", shape=digits.shape).contents.SetInParent()
    with grpc.insecure_channel(addr) as channel:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert [list(o.shape) for o in answer.outputs if o.name == "classes"] == [[2]]


def test_errors(triton, digits):
    module, client = triton
    with pytest.raises(InferenceServerException, match='no such model "cats"'):
        client.infer("cats", [tensor(module, "images", digits)])
    with pytest.raises(InferenceServerException, match=r"expected \[-1 8 8 1\]"):
        client.infer("digits", [tensor(module, "images", digits[0])])
    with pytest.raises(InferenceServerException, match="no version 9"):
        client.infer("digits", [tensor(module, "images", digits)], model_version="9")


def test_photo(triton, coffee):
    """Bytes in, bytes out."""
    module, client = triton
    t = module.InferInput("image_bytes", [1], "BYTES")
    t.set_data_from_numpy(np.array([coffee], dtype=np.object_))
    answer = client.infer("imagenet", [t])
    espresso(answer.as_numpy("labels")[0])


def test_statistics(triton, digits):
    module, client = triton

    def count():
        stats = client.get_inference_statistics("digits")
        return int(stats["model_stats"][0]["inference_count"]) if module is th else stats.model_stats[0].inference_count

    before = count()
    client.infer("digits", [tensor(module, "images", digits)])
    assert count() >= before + 2
    # Without a name: all that have a replica.
    if module is th:
        stats = {s["name"]: int(s["inference_count"]) for s in client.get_inference_statistics()["model_stats"]}
    else:
        stats = {s.name: s.inference_count for s in client.get_inference_statistics().model_stats}
    assert stats["digits"] >= before + 2


def test_tag(triton, coffee):
    """A tag in the metadata chooses the revision, as in a header."""
    module, client = triton
    t = module.InferInput("image_bytes", [1], "BYTES")
    t.set_data_from_numpy(np.array([coffee], dtype=np.object_))
    answer = client.infer("imagenet", [t], headers={"x-weir-tag": "lite2"})
    response = answer.get_response()
    assert (response["model_version"] if module is th else response.model_version) == "2"


def test_stream(addr, digits):
    with tg.InferenceServerClient(addr) as client:
        answers = []
        client.start_stream(lambda result, error: answers.append((result, error)))
        for i in range(3):
            client.async_stream_infer("digits", [tensor(tg, "images", digits)], request_id=str(i))
        client.stop_stream()
    assert [r.get_response().id for r, e in answers if e is None] == ["0", "1", "2"]


def test_aio(addr, digits):
    async def run():
        async with tga.InferenceServerClient(addr) as grpc, tha.InferenceServerClient(addr) as http:
            assert await grpc.is_server_live() and await http.is_server_live()
            answers = await asyncio.gather(
                *(grpc.infer("digits", [tensor(tg, "images", digits)]) for _ in range(8)),
                *(http.infer("digits", [tensor(th, "images", digits)]) for _ in range(8)),
            )
            for a in answers:
                np.testing.assert_allclose(a.as_numpy("probabilities").sum(axis=1), 1, atol=1e-5)

    asyncio.run(run())


def test_what_there_is_not(triton, digits):
    """What Triton has and weir does not is refused with the reason, never left out in silence."""
    module, client = triton
    for call, reason in (
        (lambda: client.get_trace_settings("digits"), "trace settings are not supported"),
        (lambda: client.get_log_settings(), "log settings cannot be changed"),
        (lambda: client.get_system_shared_memory_status(), "shared memory is not supported"),
        (lambda: client.register_system_shared_memory("a", "/a", 64), "shared memory is not supported"),
        (lambda: client.unregister_cuda_shared_memory(), "shared memory is not supported"),
        (lambda: client.load_model("digits", config="{}"), "weir deploy makes a revision"),
    ):
        with pytest.raises(InferenceServerException, match=reason):
            call()
    shared, output = tensor(module, "images", digits), module.InferRequestedOutput("classes")
    shared.set_shared_memory("a", 512)
    output.set_shared_memory("a", 16)
    for inputs, outputs, reason in (
        ([shared], None, "shared memory is not supported"),
        ([tensor(module, "images", digits)], [output], "shared memory is not supported"),
    ):
        with pytest.raises(InferenceServerException, match=reason):
            client.infer("digits", inputs, outputs=outputs)


def test_classes(triton, digits):
    """Triton's classification extension: the best classes in the place of an output, as image_client.py asks for them."""
    module, client = triton
    inputs = [tensor(module, "images", digits)]
    probabilities = client.infer("digits", inputs).as_numpy("probabilities")
    for binary in (True, False) if module is th else (True,):
        extra = {"binary_data": binary} if module is th else {}
        few = module.InferRequestedOutput("probabilities", class_count=3, **extra)
        got = client.infer("digits", inputs, outputs=[few]).as_numpy("probabilities")
        assert got.shape == (len(digits), 3)
        for row, numbers in zip(got, probabilities):
            best = np.argsort(-numbers, kind="stable")[:3]
            want = [f"{numbers[i]:.6f}:{i}" for i in best]
            assert [c.decode() if isinstance(c, bytes) else c for c in row] == want


def test_what_does_not_matter(triton, digits):
    """Sequences, priorities and parameters of every type are for servers with state: they change nothing."""
    module, client = triton
    answer = client.infer("digits", [tensor(module, "images", digits)], sequence_id=5, sequence_start=True, sequence_end=True, priority=3,
                          timeout=10_000_000, parameters={"a": 1, "b": "x", "c": True})
    assert answer.as_numpy("classes").shape == (2,)


def test_large(triton):
    """Over gRPC's usual limit of 4 MB."""
    module, client = triton
    many = np.zeros((20_000, 8, 8, 1), np.float32)
    assert client.infer("digits", [tensor(module, "images", many)], outputs=[module.InferRequestedOutput("classes")]).as_numpy("classes").shape == (20_000,)


def test_deadline_and_cancel(addr, digits):
    # Eight photos take many times the deadline; a digit may well be answered before grpcio, which counts in milliseconds, gives it up.
    photos = np.zeros((8, 224, 224, 3), np.float32)
    with tg.InferenceServerClient(addr) as client:
        with pytest.raises(InferenceServerException, match="DEADLINE_EXCEEDED"):
            client.infer("imagenet", [tensor(tg, "images", photos)], client_timeout=0.01)
        answers = []
        client.async_infer("digits", [tensor(tg, "images", digits)], lambda result, error: answers.append(error)).cancel()
        assert client.infer("digits", [tensor(tg, "images", digits)]).as_numpy("classes").shape == (2,)
