"""KServe's inference clients. They run in a process of their own: they and tritonclient define the same messages."""

import asyncio

import elements
import kserve
import numpy as np
import pytest
from kserve.inference_client import RESTConfig


def kserve_request(digits):
    t = kserve.InferInput("images", list(digits.shape), "FP32")
    t.set_data_from_numpy(digits, binary_data=False)
    return kserve.InferRequest(model_name="digits", infer_inputs=[t])


def test_kserve_grpc(addr, digits):
    async def run():
        client = kserve.InferenceGRPCClient(addr)
        assert await client.is_server_live() and await client.is_server_ready() and await client.is_model_ready("digits")
        answer = await client.infer(kserve_request(digits))
        np.testing.assert_allclose(answer.outputs[1].as_numpy().sum(axis=1), 1, atol=1e-5)
        await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_kserve_rest(addr, digits, protocol):
    async def run():
        client = kserve.InferenceRESTClient(RESTConfig(protocol=protocol))
        base = f"http://{addr}"
        assert await client.is_server_live(base)
        if protocol == "v2":
            assert await client.is_server_ready(base)
        assert await client.is_model_ready(base, "digits")
        if protocol == "v1":
            answer = await client.infer(base, {"instances": digits.tolist()}, model_name="digits")
            assert len(answer["predictions"]) == 2
        else:
            answer = await client.infer(base, kserve_request(digits), model_name="digits")
            assert answer.outputs[0].shape[0] == 2
        await client.close()

    asyncio.run(run())


# The client turns BYTES into text, so they have to be UTF-8.
VALUES = {n: v for n, v in elements.VALUES.items() if n != "bfloat16"} | {"string": ("BYTES", elements.TEXT)}
# The client can send BF16, but takes none: 1 and -2 as the wire has them.
BF16 = b"\x80\x3f\x00\xc0"


def test_every_type(addr):
    def request():
        inputs = []
        for name, (datatype, value) in VALUES.items():
            inputs.append(kserve.InferInput(name, [2], datatype))
            inputs[-1].set_data_from_numpy(value)
        inputs.append(kserve.InferInput("bfloat16", [2], "BF16", parameters={"binary_data_size": len(BF16)}))
        inputs[-1]._raw_data = BF16
        outputs = [kserve.protocol.infer_type.RequestedOutput(name, {"binary_data": True}) for name in VALUES]
        return kserve.InferRequest(model_name="dtypes", infer_inputs=inputs, request_outputs=outputs)

    def check(answer):
        got = {o.name: o for o in answer.outputs}
        for name, (datatype, value) in VALUES.items():
            assert got[name].datatype == datatype
            array = got[name].as_numpy()
            if datatype == "BYTES":
                array = np.array([v if isinstance(v, bytes) else v.encode() for v in array], np.object_)
            np.testing.assert_array_equal(array, value, err_msg=name)

    async def run():
        grpc, rest = kserve.InferenceGRPCClient(addr), kserve.InferenceRESTClient(RESTConfig(protocol="v2"))
        check(await grpc.infer(request()))
        check(await rest.infer(f"http://{addr}", request(), model_name="dtypes"))
        await grpc.close()
        await rest.close()

    asyncio.run(run())
