"""MLServer: one process, adaptive batches of up to 32, 2 ms."""

import asyncio

import model
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceResponse


class Model(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        first = payload.inputs[0]
        rows = Base64Codec.decode_input(first) if model.JPEG else NumpyCodec.decode_input(first).astype("float32")
        answer = await asyncio.to_thread(model.predict, rows)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("probabilities", answer)])


async def main():
    server = MLServer(Settings(host="127.0.0.1", http_port=model.PORT, grpc_port=model.PORT + 1, metrics_port=model.PORT + 2, parallel_workers=0, debug=False))
    settings = ModelSettings(name=model.NAME, implementation=Model, max_batch_size=32, max_batch_time=0.002, parameters=ModelParameters(version="1"))
    await server.start([settings])


if __name__ == "__main__":
    asyncio.run(main())
