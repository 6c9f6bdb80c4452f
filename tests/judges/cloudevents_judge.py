"""The Python SDK of CloudEvents sends events to a node, and reads them back."""

import json
import os
import time

import requests
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent, from_http, from_json

URL = os.environ["TOWLINE_URL"]
SOURCE = f"/judges/py/{time.time_ns()}"


def made(name, data, content_type="application/json"):
    return CloudEvent(
        {
            "id": name,
            "source": SOURCE,
            "type": "com.example.sold",
            "subject": f"cart/{name}",
            "time": "2020-01-02T03:04:05.000Z",
            "datacontenttype": content_type,
            "region": "Euro",
        },
        data,
    )


def append(headers, body):
    answer = requests.post(f"{URL}/v1/entries", headers=headers, data=body, timeout=20)
    assert answer.status_code == 201, answer.text
    return [receipt["id"].replace(":", "/") for receipt in answer.json()]


def get(path, accept=None):
    answer = requests.get(URL + path, headers={"accept": accept} if accept else {}, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer


def same(event, sent):
    for name in ["id", "source", "type", "subject", "time", "datacontenttype", "region"]:
        assert event[name] == sent[name], (name, event[name], sent[name])
    assert event.data == sent.data, (event.data, sent.data)
    assert len(event["sequence"]) == 20 and event["sequence"].isdigit()


for mode, convert in [("binary", to_binary), ("structured", to_structured)]:
    sent = made(mode, {"n": 1, "text": "Euro € 😀"})
    (entry,) = append(*convert(sent))
    answer = get(f"/v1/entries/{entry}", "application/cloudevents+json")
    same(from_http(answer.headers, answer.content), sent)
    answer = get(f"/v1/entries/{entry}/event")
    same(from_http(answer.headers, answer.content), sent)
    print(f"{mode}: sent, and received structured and binary")

octets = made("octets", b"\x00\xff", "application/octet-stream")
(entry,) = append(*to_structured(octets))
assert from_json(get(f"/v1/entries/{entry}", "application/cloudevents+json").content).data == b"\x00\xff"
print("octets: sent and received")

batch = [made("b1", {"n": 1}), made("b2", {"n": 2})]
bodies = [json.loads(to_structured(event)[1]) for event in batch]
append({"content-type": "application/cloudevents-batch+json"}, json.dumps(bodies))
listed = get("/v1/entries?limit=2&reverse=true", "application/cloudevents-batch+json").json()
for event, sent in zip(reversed(listed), batch):
    same(from_json(json.dumps(event)), sent)
print("batch: sent and received")
