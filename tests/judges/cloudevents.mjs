// The JavaScript SDK of CloudEvents sends events to a node, and reads them back.
import assert from "node:assert/strict";
import { CloudEvent, HTTP } from "cloudevents";

const url = process.env.TOWLINE_URL;
const source = `/judges/js/${Date.now()}`;

function made(id, more = {}) {
  return new CloudEvent({
    id, source, type: "com.example.sold", subject: `cart/${id}`, time: "2020-01-02T03:04:05.000Z",
    datacontenttype: "application/json", data: { n: 1, text: "Euro € 😀" }, region: "eu", ...more,
  });
}

async function append(message) {
  const answer = await fetch(`${url}/v1/entries`, {
    method: "POST", headers: message.headers, body: message.body,
  });
  const text = await answer.text();
  assert.equal(answer.status, 201, text);
  return JSON.parse(text).map((receipt) => receipt.id.replace(":", "/"));
}

async function received(path, accept) {
  const answer = await fetch(`${url}${path}`, { headers: accept ? { accept } : {} });
  assert.equal(answer.status, 200);
  const headers = Object.fromEntries(answer.headers);
  return HTTP.toEvent({ headers, body: await answer.text() });
}

function same(event, sent) {
  event.validate();
  for (const name of ["id", "source", "type", "subject", "time", "datacontenttype", "region"]) {
    assert.equal(event[name], sent[name], name);
  }
  assert.deepEqual(event.data, sent.data);
  assert.match(event.sequence, /^[0-9]{20}$/);
}

for (const [mode, make] of [["binary", HTTP.binary], ["structured", HTTP.structured]]) {
  const sent = made(mode);
  const [id] = await append(make(sent));
  same(await received(`/v1/entries/${id}`, "application/cloudevents+json"), sent);
  same(await received(`/v1/entries/${id}/event`), sent);
  console.log(`${mode}: sent, and received structured and binary`);
}

const batch = [made("b1"), made("b2")];
const body = JSON.stringify(batch.map((event) => event.toJSON()));
await append({ headers: { "content-type": "application/cloudevents-batch+json" }, body });
const listed = await received("/v1/entries?limit=2&reverse=true", "application/cloudevents-batch+json");
same(listed[1], batch[0]);
same(listed[0], batch[1]);
console.log("batch: sent and received");

const own = JSON.stringify({ topic: "story/1", kind: "transition", data: { to: "done" } });
const [id] = await append({ headers: { "content-type": "application/json" }, body: own });
const event = await received(`/v1/entries/${id}`, "application/cloudevents+json");
event.validate();
assert.equal(event.id, id.replace("/", ":"));
assert.equal(event.source, `urn:towline:node:${id.split("/")[0]}`);
assert.deepEqual([event.type, event.subject, event.data], ["transition", "story/1", { to: "done" }]);
console.log("an entry of our own: a valid event");
