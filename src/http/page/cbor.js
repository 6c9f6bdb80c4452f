// An entry as its author signed it: the CBOR map that docs/protocol.md draws, and nothing else of CBOR.

import { Input } from './change.js';

const KEYS = { 0: 'time', 1: 'tenant', 2: 'topic', 3: 'kind', 4: 'attributes', 5: 'contentType', 6: 'data' };
const UNSIGNED = 0;
const BYTES = 2;
const TEXT = 3;
const MAP = 5;

/** The entry: time as a BigInt, tenant, topic, kind, attributes, contentType, data as bytes. Throws on other bytes. */
export function readEntry(bytes) {
  const input = new Input(bytes);
  const entry = { tenant: 'default', attributes: {}, contentType: 'application/json' };
  for (let left = Number(head(input, MAP)); left > 0; left -= 1) {
    const key = KEYS[Number(head(input, UNSIGNED))];
    if (key === undefined) throw new Error('an entry has a field that is not known');
    entry[key] = value(input, key);
  }
  if (input.left > 0) throw new Error('an entry has bytes after its end');
  return entry;
}

function value(input, key) {
  if (key === 'time') return head(input, UNSIGNED);
  if (key === 'data') return input.take(Number(head(input, BYTES)));
  if (key !== 'attributes') return text(input);
  const pairs = [];
  for (let left = Number(head(input, MAP)); left > 0; left -= 1) pairs.push([text(input), text(input)]);
  return Object.fromEntries(pairs);
}

function text(input) {
  return new TextDecoder('utf-8', { fatal: true }).decode(input.take(Number(head(input, TEXT))));
}

// The head of an item: its type in the upper three bits of a byte, and a number in the lower five, or after them.
function head(input, type) {
  const byte = input.byte();
  if (byte >> 5 !== type) throw new Error('an entry has a field of another type');
  const short = byte % 32;
  if (short < 24) return BigInt(short);
  if (short > 27) throw new Error('an entry has a field of unknown length');
  let number = 0n;
  for (const next of input.take(2 ** (short - 24))) number = number * 256n + BigInt(next);
  return number;
}
