"""LitServe. Batches of up to 32, 2 ms."""

import litserve


class Api(litserve.LitAPI):
    def setup(self, device):
        import model

        self.model = model

    def decode_request(self, request):
        return self.model.rows(request["instances"])[0]

    def batch(self, inputs):
        return inputs

    def predict(self, x):
        return self.model.predict(x)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"predictions": [output.tolist()]}


if __name__ == "__main__":
    import os

    server = litserve.LitServer(Api(max_batch_size=32, batch_timeout=0.002), accelerator="cpu", workers_per_device=1)
    server.run(port=int(os.environ["PORT"]), host="127.0.0.1", log_level="error", generate_client_file=False)
