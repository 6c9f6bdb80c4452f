// The entries that the page holds: a run of the merged log without holes, newest first, at most MOST of them.

import { abridged, newestFirst } from './entry.js';

export const MOST = 100_000;

export class Log {
  entries = [];
  /** How many older entries were let go to stay within MOST. */
  olderLetGo = 0;
  /** True once loading older pushed the newest out: only `start` makes the log live again. */
  newerLetGo = false;
  #byId = new Map();
  #older = null; // where older entries continue, as query parameters; null: the log begins here
  #below = new Set(); // ids that arrived further back than what is held

  /** Forgets all and holds this newest page. */
  start(page) {
    this.#byId.clear();
    this.#below.clear();
    this.entries = [];
    this.olderLetGo = 0;
    this.newerLetGo = false;
    this.#older = null;
    this.#insert(page.entries);
    this.#older = page.next ? { after: page.next } : null;
  }

  /** Takes in the newest page after a break in the stream. A page that ends above what is held would leave a hole. */
  rejoin(page) {
    if (this.#byId.has(page.entries.at(-1)?.id)) this.add(page.entries);
    else this.start(page);
  }

  /** Takes in arrivals, each once. One that belongs among older entries not held is only counted. */
  add(arrivals) {
    this.#insert(arrivals.filter((entry) => !this.#isBelow(entry)));
    const excess = this.entries.splice(MOST);
    if (excess.length === 0) return;
    this.#forget(excess);
    this.olderLetGo += excess.length;
    // The cursor led on from an entry now gone. Times may repeat, so ask from just above and skip what is held.
    const oldest = Date.parse(this.entries.at(-1).time);
    this.#older = Number.isNaN(oldest) ? {} : { until: new Date(oldest + 1).toISOString() };
  }

  /** Takes in the page that follows the oldest entry held, and says how many entries were new. */
  addOlder(page) {
    const before = this.#byId.size;
    this.#insert(page.entries);
    const added = this.#byId.size - before;
    this.#older = page.next ? { after: page.next } : null;
    const excess = this.entries.splice(0, Math.max(0, this.entries.length - MOST));
    this.#forget(excess);
    this.newerLetGo ||= excess.length > 0;
    this.olderLetGo = Math.max(0, this.olderLetGo - added);
    return added;
  }

  /** The entry with this id, if it is held. */
  get(id) {
    return this.#byId.get(id);
  }

  /** Query parameters of the page of older entries, or null at the beginning of the log. */
  get older() {
    return this.#older;
  }

  /** How many entries arrived further back than what is held. */
  get below() {
    return this.#below.size;
  }

  #isBelow(entry) {
    const oldest = this.entries.at(-1);
    if (!this.#older || !oldest || this.#byId.has(entry.id) || newestFirst(entry, oldest) <= 0) return false;
    if (this.#below.size < MOST) this.#below.add(entry.id);
    return true;
  }

  #insert(entries) {
    const fresh = [];
    for (const entry of entries) {
      const held = this.#byId.get(entry.id);
      if (held) {
        if (entry.late) held.late = true; // only the stream knows what came late
        continue;
      }
      const kept = abridged(entry);
      this.#byId.set(entry.id, kept);
      this.#below.delete(entry.id);
      fresh.push(kept);
    }
    if (fresh.length > 0) this.entries = merged(this.entries, fresh.sort(newestFirst));
  }

  #forget(entries) {
    for (const entry of entries) this.#byId.delete(entry.id);
  }
}

// Two ordered runs as one. Most arrivals are newer than all that is held, and most pages older: nothing is compared
// then but the ends, so that a hundred thousand entries cost no more than a few.
function merged(held, fresh) {
  if (held.length === 0 || newestFirst(fresh.at(-1), held[0]) < 0) return fresh.concat(held);
  if (newestFirst(held.at(-1), fresh[0]) < 0) return held.concat(fresh);
  const both = [];
  let at = 0;
  for (const entry of fresh) {
    while (at < held.length && newestFirst(held[at], entry) < 0) both.push(held[at++]);
    both.push(entry);
  }
  return both.concat(held.slice(at));
}
