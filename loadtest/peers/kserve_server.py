"""KServe's Python server: one worker, V1 protocol."""

import kserve
import model


class Model(kserve.Model):
    def __init__(self):
        super().__init__(model.NAME)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        return {"predictions": model.predict(model.rows(payload["instances"])).tolist()}


if __name__ == "__main__":
    kserve.ModelServer(http_port=model.PORT, enable_grpc=False, workers=1, access_log_format=None).start([Model()])
