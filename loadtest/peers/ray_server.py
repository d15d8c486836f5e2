"""Ray Serve: one replica, batches of up to 32, 2 ms."""

import os
import signal

import ray
from ray import serve


@serve.deployment(max_ongoing_requests=64)
class Model:
    def __init__(self):
        import model

        self.model = model

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.002)
    async def run(self, rows):
        return list(self.model.predict(rows))

    async def __call__(self, request):
        body = await request.json()
        return {"predictions": [(await self.run(self.model.rows(body["instances"])[0])).tolist()]}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    serve.run(Model.bind(), route_prefix="/predict")
    signal.pause()
