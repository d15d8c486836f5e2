"""BentoML with adaptive batching. Started as `bentoml serve bentoml_server:Service`."""

import bentoml


@bentoml.service(workers=1, traffic={"timeout": 30})
class Service:
    def __init__(self):
        import model

        self.model = model

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=60_000)
    def predict(self, instances: list) -> list:
        return self.model.predict(self.model.rows(instances)).tolist()
