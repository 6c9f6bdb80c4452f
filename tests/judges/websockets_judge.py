"""The Python package websockets follows a stream, and resumes it."""

import asyncio
import json
import os
import urllib.request

import websockets

HTTP = os.environ["TOWLINE_URL"]
STREAM = HTTP.replace("http://", "ws://") + "/v1/stream"


def append(data):
    body = json.dumps({"topic": "websockets", "kind": "k", "data": data}).encode()
    headers = {"content-type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{HTTP}/v1/entries", body, headers), timeout=20)


async def events(socket, count):
    return [json.loads(await asyncio.wait_for(socket.recv(), 20)) for _ in range(count)]


async def judge():
    append(1)
    append(2)
    async with websockets.connect(f"{STREAM}?topic=websockets") as socket:
        one, two, caught_up = await events(socket, 3)
        assert [one["data"]["data"], two["data"]["data"]] == [1, 2]
        assert caught_up["event"] == "caught-up"
        append(3)
        (live,) = await events(socket, 1)
        assert live["data"]["data"] == 3
        await asyncio.wait_for(await socket.ping(), 20)
    print("followed: the log, caught-up, live, a ping answered")
    async with websockets.connect(f"{STREAM}?topic=websockets&after={two['cursor']}") as socket:
        (again,) = await events(socket, 1)
        assert again["data"]["data"] == 3
    print("resumed after its cursor")
    try:
        async with websockets.connect(STREAM, origin="http://evil.example"):
            raise AssertionError("another site was let in")
    except websockets.exceptions.InvalidStatus as refused:
        assert refused.response.status_code == 403
    print("another site's page is refused")


asyncio.run(judge())
