"""Triton through PyTriton, with dynamic batching."""

import base64

import model
import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


@batch
def infer(**inputs):
    (rows,) = inputs.values()
    return {"probabilities": model.predict([base64.b64decode(x[0]) for x in rows] if model.JPEG else rows)}


if __name__ == "__main__":
    config = TritonConfig(http_address="127.0.0.1", http_port=model.PORT, grpc_port=model.PORT + 1, metrics_port=model.PORT + 2, log_verbose=0)
    with Triton(config=config) as triton:
        triton.bind(
            model_name=model.NAME,
            infer_func=infer,
            inputs=[Tensor(name=model.INPUT, dtype=np.bytes_ if model.JPEG else np.float32, shape=model.ROW)],
            outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(5, 2) if model.JPEG else (-1,))],
            config=ModelConfig(max_batch_size=32, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()
