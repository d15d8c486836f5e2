"""Locust users for weir: `locust` in this folder, weir at http://127.0.0.1:8080 (`make run`), the page at :8089.

    locust --headless -u 75 -r 1 -t 2m            # 75 users, one more a second
    locust --headless -u 20 -r 5 -t 1m Busy       # one kind of user only
"""

import itertools
import json
import pathlib

from locust import HttpUser, between, task

SAMPLES = pathlib.Path(__file__).parent.parent / "build" / "samples"
PHOTOS = sorted(p for p in SAMPLES.iterdir() if p.suffix in (".jpg", ".png"))
TYPES = {".jpg": "image/jpeg", ".png": "image/png"}
DIGITS = json.dumps({"instances": [[[[0.5]] * 8] * 8]})


class Photos(HttpUser):
    """A user with photos, who asks one model for each in turn."""

    abstract = True
    host = "http://127.0.0.1:8080"
    model = ""

    def on_start(self):
        self.photos = itertools.cycle([(p.read_bytes(), TYPES[p.suffix]) for p in PHOTOS])

    @task
    def predict(self):
        body, content_type = next(self.photos)
        self.client.post(f"/v1/models/{self.model}:predict", data=body, headers={"Content-Type": content_type})


class Busy(Photos):
    """Most users classify photos, one after the other."""

    model = "imagenet"
    weight = 8
    wait_time = between(0.1, 0.3)


class Idle(Photos):
    """Few ask for the features of a photo now and then."""

    model = "embed"
    weight = 1
    wait_time = between(1, 3)


class Digits(HttpUser):
    """A small model over JSON, as a yardstick: it costs next to nothing."""

    host = "http://127.0.0.1:8080"
    weight = 1
    wait_time = between(0.5, 1)

    @task
    def predict(self):
        self.client.post("/v1/models/digits:predict", data=DIGITS, headers={"Content-Type": "application/json"})
