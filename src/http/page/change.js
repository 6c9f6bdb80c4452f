// A change as the protocol draws it: an Automerge chunk, read as far as a proof needs it.
// Only what is here is believed, and everything in it is held to its bounds: the node that sent it may lie.

const MAGIC = [0x85, 0x6f, 0x4a, 0x83];
const HASHED_FROM = 8; // after the magic and the checksum
const CHANGE = 1;
const VALUE_META = 0x56;
const VALUES = 0x57;
const BYTES = 7; // the type of a value, in the lower four bits of its meta
const ENTRIES_MOST = 4_096;

/** A change: its hash, what it depends on, its segment, its place, its message, its entries as bytes. Throws on other bytes. */
export async function readChange(bytes) {
  const input = new Input(bytes);
  if (!MAGIC.every((byte) => input.byte() === byte)) throw new Error('a change is no Automerge chunk');
  const checksum = input.take(4);
  if (input.byte() !== CHANGE) throw new Error('a chunk is no plain change');
  if (input.number() !== input.left) throw new Error('a chunk has another length than it says');
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes.subarray(HASHED_FROM)));
  if (!equal(checksum, hash.subarray(0, 4))) throw new Error('a chunk has another checksum than it says');

  const count = input.number();
  if (count !== 1) throw new Error('a change depends on none, or on several others');
  const dependency = input.take(32);
  const segment = input.prefixed();
  const index = input.number() - 1;
  const start = input.number() - 2; // how many entries of the segment come before
  input.number(); // the time in seconds; each entry says its own
  const message = new TextDecoder('utf-8', { fatal: true }).decode(input.prefixed());
  for (let others = input.number(); others > 0; others -= 1) input.prefixed();
  const columns = input.columns();
  const entries = valuesOf(columns.get(VALUE_META), columns.get(VALUES));
  return { hash, dependency, segment, index, start, message, entries };
}

/** Whether two runs of bytes are the same. */
export function equal(a, b) {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

// Each value has a number in the meta column, its length shifted left by four beside its type; runs of equal ones are
// written as a positive count and the number, runs of different ones as a negative count and the numbers.
function valuesOf(meta, values) {
  if (!meta || !values) throw new Error('a change holds no entries');
  const runs = new Input(meta);
  const bytes = new Input(values);
  const entries = [];
  const add = (number) => {
    if (entries.length === ENTRIES_MOST) throw new Error('a change holds too many entries');
    if (number % 16 !== BYTES) throw new Error('a change holds something that is no entry');
    entries.push(bytes.take(Math.floor(number / 16)));
  };
  while (runs.left > 0) {
    const count = runs.signed();
    if (count === 0) throw new Error('a change holds something that is no entry');
    if (count > 0) {
      const number = runs.number();
      for (let at = 0; at < count; at += 1) add(number);
    } else {
      for (let at = 0; at > count; at -= 1) add(runs.number());
    }
  }
  if (bytes.left > 0) throw new Error('a change holds bytes that are in no entry');
  return entries;
}

/** Bytes that are read from their start. Reading past the end throws. */
export class Input {
  #bytes;
  #at = 0;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  get left() {
    return this.#bytes.length - this.#at;
  }

  byte() {
    return this.take(1)[0];
  }

  take(length) {
    if (length > this.left) throw new Error('bytes end too soon');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** An unsigned LEB128 number that a JavaScript number holds. */
  number() {
    let number = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      number += (byte % 128) * scale;
      if (number > Number.MAX_SAFE_INTEGER) throw new Error('a number is too large');
      if (byte < 128) return number;
    }
  }

  /** A signed LEB128 number. */
  signed() {
    let number = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      number += (byte % 128) * scale;
      if (number > Number.MAX_SAFE_INTEGER) throw new Error('a number is too large');
      if (byte < 128) return byte >= 64 ? number - scale * 128 : number;
    }
  }

  prefixed() {
    return this.take(this.number());
  }

  /** The columns of a change by their number: first a table of numbers and lengths, then their bytes. */
  columns() {
    const table = [];
    for (let left = this.number(); left > 0; left -= 1) table.push([this.number(), this.number()]);
    return new Map(table.map(([column, length]) => [column, this.take(length)]));
  }
}
