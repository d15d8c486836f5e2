"""The CloudEvents SDK of Python: binary, structured and batched events, JSON and a photo as data."""

import json
from datetime import datetime, timedelta, timezone

import pytest
import requests
from cloudevents.http import CloudEvent, from_http, from_json, to_binary, to_json, to_structured
from conftest import espresso

ATTRIBUTES = {"type": "dev.weir.predict", "source": "/clients", "model": "digits", "datacontenttype": "application/json"}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def event(digits, **more):
    return CloudEvent({**ATTRIBUTES, **more}, {"instances": digits.tolist()})


@pytest.mark.parametrize("encode", [to_binary, to_structured])
def test_answer(addr, digits, encode):
    request = event(digits, traceparent=TRACE)
    headers, body = encode(request)
    response = requests.post(f"http://{addr}/events", headers=headers, data=body)
    answer = from_http(response.headers, response.content)
    assert response.status_code == 200 and answer["type"] == "dev.weir.prediction"
    assert answer["causationid"] == request["id"] != answer["id"] and answer["source"] != request["source"]
    assert answer["traceparent"] == TRACE and len(answer.data["predictions"]) == 2


def test_photo(addr, coffee):
    request = CloudEvent({**ATTRIBUTES, "model": "imagenet", "datacontenttype": "image/png"}, coffee)
    headers, body = to_binary(request)
    response = requests.post(f"http://{addr}/", headers=headers, data=body)
    espresso(from_http(response.headers, response.content).data["predictions"][0]["labels"])


def test_batch(addr, digits):
    requests_ = [event(digits), event(digits, model="cats"), event(digits, expirytime="2020-01-01T00:00:00Z")]
    body = b"[" + b",".join(to_json(e) for e in requests_) + b"]"
    response = requests.post(f"http://{addr}/events", headers={"Content-Type": "application/cloudevents-batch+json"}, data=body)
    assert response.headers["Content-Type"] == "application/cloudevents-batch+json"
    answers = [from_json(json.dumps(e)) for e in response.json()]
    assert [a["type"] for a in answers] == ["dev.weir.prediction", "dev.weir.error", "dev.weir.error"]
    assert [a["causationid"] for a in answers] == [e["id"] for e in requests_]
    assert [a.data.get("status") for a in answers] == [None, 404, 504]


def test_deadline(addr, digits):
    soon = (datetime.now(timezone.utc) + timedelta(minutes=1)).isoformat()
    for when, status in ((soon, 200), ("2020-01-01T00:00:00Z", 504), ("tomorrow", 400)):
        headers, body = to_structured(event(digits, expirytime=when))
        assert requests.post(f"http://{addr}/events", headers=headers, data=body).status_code == status


def test_loop_guard(addr, digits):
    headers, body = to_structured(event(digits, type="dev.weir.prediction"))
    response = requests.post(f"http://{addr}/events", headers=headers, data=body)
    assert response.status_code == 400 and from_http(response.headers, response.content)["type"] == "dev.weir.error"
