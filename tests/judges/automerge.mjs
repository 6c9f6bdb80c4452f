// Automerge for JavaScript opens an export, and finds in it every entry that the log holds.

import * as Automerge from '@automerge/automerge';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const [exported, lines] = process.argv.slice(2);
const document = Automerge.load(readFileSync(exported));
const entries = readFileSync(lines, 'utf8').trim().split('\n').map((line) => JSON.parse(line));

assert.equal(document.entries.length, entries.length);
assert.ok(document.entries.every((entry) => entry instanceof Uint8Array));

// The payloads stand in the entries' CBOR as they were written.
const held = document.entries.map((entry) => Buffer.from(entry).toString('latin1'));
const texts = entries.map(({ data }) => data).filter((data) => typeof data === 'string');
assert.ok(texts.length >= 3, String(texts));
for (const text of texts) assert.ok(held.some((entry) => entry.includes(text)), text);

// It is a document like any other: what is changed in a copy merges back.
const copy = Automerge.change(Automerge.clone(document), (draft) => { draft.note = 'seen'; });
assert.equal(Automerge.merge(document, copy).note, 'seen');
const changes = Automerge.getAllChanges(document).length;
console.log(`Automerge for JavaScript opened ${document.entries.length} entries in ${changes} changes`);
