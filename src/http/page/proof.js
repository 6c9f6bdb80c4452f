// Verifies an entry's proof as a third party: with the author's key, which is its id, and nothing that the node says.
//
//   the opening statement ── its hash ──► the segment's id, which every change of the segment carries
//   the change with the entry ── its hash ──► named by the change after it ── … ──► the last one, which is signed

import { equal, readChange } from './change.js';
import { readEntry } from './cbor.js';
import { count, shortId } from './element.js';
import { plain } from './entry.js';

const SEGMENT_DOMAIN = 'towline/1 segment\0';
const CHANGE_DOMAIN = 'towline/1 change\0';
const GENESIS = '55ca52d9a28777446160a566a03c8efe5f798df5b3ed045427f62fda07f7acd4';

/**
 * Verifies that the entry, as the page shows it, is what its author signed. `said` is told each step that holds.
 * Throws an Error with the first thing that doesn't.
 */
export async function verify(proof, entry, said) {
  const changes = await Promise.all(proof.changes.map((chunk) => readChange(fromBase64(chunk))));
  if (changes.length === 0) throw new Error('it holds no change');
  const opening = JSON.parse(proof.opening);

  const segment = (await sha256(bytesOf(SEGMENT_DOMAIN), bytesOf(proof.opening))).subarray(0, 16);
  hold(opening.author === entry.author, 'the segment was opened by another author');
  hold(toHex(segment) === entry.segment, 'the entry is of another segment');
  said(`segment ${shortId(entry.segment)} was opened by ${shortId(opening.author)} at seq ${opening.first_seq}, for cluster ${shortId(opening.cluster)}`);

  changes.forEach((change, at) => follows(change, changes[at - 1], segment, proof.opening));
  said(changes.length === 1 ? 'the change that holds the entry is the one that was signed' : `the change that holds the entry, and ${count(changes.length - 1)} after it, are a chain of SHA-256`);

  const [holder] = changes;
  hold(toHex(holder.hash) === entry.change, 'the entry is in another change');
  hold(opening.first_seq + holder.start + proof.at === Number(entry.seq), 'the entry has another seq');
  sameEntry(holder.entries[proof.at], entry);
  said(`the entry stands in change ${shortId(entry.change)} as seq ${entry.seq}, word by word as it is shown`);

  const signed = concat(bytesOf(CHANGE_DOMAIN), fromHex(opening.cluster), changes.at(-1).hash);
  await signature(fromHex(entry.author), fromHex(proof.signature), signed);
  said(`Ed25519: the last change is signed by the key ${shortId(entry.author)}`);
}

function follows(change, before, segment, opening) {
  hold(equal(change.segment, segment), 'a change is of another segment');
  if (before) {
    hold(equal(change.dependency, before.hash), 'the chain of changes is broken');
    hold(change.index === before.index + 1 && change.start === before.start + before.entries.length, 'the chain of changes has a hole');
  } else if (change.index === 0) {
    hold(toHex(change.dependency) === GENESIS && change.message === opening && change.start === 0, 'the segment begins otherwise than its opening says');
  }
}

// What is shown must be what was signed: each field, and the payload byte by byte.
function sameEntry(bytes, entry) {
  hold(bytes !== undefined, 'the change does not hold the entry');
  const signed = readEntry(bytes);
  hold(String(signed.time) === entry.hlc, 'the entry has another time');
  hold(new Date(Number(signed.time >> 16n)).toISOString() === entry.time || Number(signed.time >> 16n) > 8.64e15, 'the entry shows another time');
  for (const [name, value] of [['tenant', entry.tenant ?? 'default'], ['topic', entry.topic], ['kind', entry.kind]]) {
    hold(signed[name] === value, `the entry has another ${name}`);
  }
  hold(sorted(signed.attributes) === sorted(entry.attributes ?? {}), 'the entry has other attributes');
  hold(sameData(signed.data, entry), 'the entry has other data');
}

function sorted(attributes) {
  return JSON.stringify(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)));
}

// JSON is shown as JSON, whose spelling may differ where its meaning doesn't; text and bytes are as they were written.
function sameData(signed, { data, data_base64: base64 }) {
  if (base64 !== undefined) return equal(signed, fromBase64(base64));
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(signed);
  if (text === data) return true;
  if (data === undefined) return text === '';
  try {
    return same(JSON.parse(text), JSON.parse(JSON.stringify(data)));
  } catch {
    return false;
  }
}

function same(a, b) {
  if (typeof a !== 'object' || a === null || b === null || typeof b !== 'object') return Object.is(a, b) || plain(a) === plain(b);
  const names = Object.keys(a);
  return Array.isArray(a) === Array.isArray(b) && names.length === Object.keys(b).length
    && names.every((name) => Object.hasOwn(b, name) && same(a[name], b[name]));
}

async function signature(key, bytes, signed) {
  let holds;
  try {
    const author = await crypto.subtle.importKey('raw', key, 'Ed25519', false, ['verify']);
    holds = await crypto.subtle.verify('Ed25519', author, bytes, signed);
  } catch (error) {
    throw new Error(`this browser cannot check Ed25519: ${error.message}`);
  }
  hold(holds, 'the signature is not the author’s');
}

function hold(condition, otherwise) {
  if (!condition) throw new Error(otherwise);
}

async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', concat(...parts)));
}

function concat(...parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function bytesOf(text) {
  return new TextEncoder().encode(text);
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

function fromHex(text) {
  if (!/^([0-9a-f]{2})*$/.test(text)) throw new Error('it holds something that is no hex');
  return Uint8Array.from(text.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
}

function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
