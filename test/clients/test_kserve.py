"""KServe's inference clients. They run in a process of their own: they and tritonclient define the same messages."""

import asyncio

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
        if protocol == "v2":
            assert await client.is_server_live(base) and await client.is_server_ready(base)
        assert await client.is_model_ready(base, "digits")
        if protocol == "v1":
            answer = await client.infer(base, {"instances": digits.tolist()}, model_name="digits")
            assert len(answer["predictions"]) == 2
        else:
            answer = await client.infer(base, kserve_request(digits), model_name="digits")
            assert answer.outputs[0].shape[0] == 2
        await client.close()

    asyncio.run(run())
