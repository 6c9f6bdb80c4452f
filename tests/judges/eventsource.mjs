// The npm package eventsource follows a node that is killed and comes back: each entry once.
import assert from "node:assert/strict";
import fs from "node:fs";
import { EventSource } from "eventsource";

const url = process.env.TOWLINE_URL;
const [killed, back] = process.argv.slice(2);
const topic = `eventsource-${Date.now()}`;

async function append(data) {
  const body = JSON.stringify({ topic, kind: "k", data });
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${url}/v1/entries`, { method: "POST", headers, body });
  assert.equal(answer.status, 201);
}

const seen = [];
let wake = () => {};
const source = new EventSource(`${url}/v1/stream?topic=${topic}`);
source.addEventListener("entry", (event) => {
  seen.push(JSON.parse(event.data).data);
  wake();
});
const until = async (done) => {
  while (!done()) await new Promise((resolve) => { wake = resolve; setTimeout(resolve, 50); });
};

for (let n = 0; n < 5; n++) await append(n);
await until(() => seen.length === 5);
fs.writeFileSync(killed, "");
await until(() => fs.existsSync(back));
for (let n = 5; n < 10; n++) await append(n);
await until(() => seen.length >= 10);
assert.deepEqual(seen, [...Array(10).keys()]);
source.close();
console.log("resumed by itself: ten entries, each once, in order");
