// A transcript: what was said, oldest first; and live, when it is the newest of its session.

import { ask } from './api.js';
import { byId, count, element } from './element.js';
import { dayAndTime, parse, plain } from './entry.js';
import { foreign, visible, visibleLines } from './foreign.js';
import { markWords } from './rows.js';
import { followAddress, originWords } from './sessions.js';

const SHOWN = 1_000; // entries at a time, the newest first; browsers lay out only those in sight, and keep all
const CHARACTERS = 20_000; // of one entry
const RETRY_MS = 3_000;

export class Transcript {
  #authors;
  #on;
  #source = null;
  #timer = null;
  #opened = 0;
  #tenant = null;
  #path = null;
  #entries = []; // the newest, as far as they were asked for
  #preceding = 0; // how many come before those
  #length = 0;
  #origin = { origin: 'start' };

  /** `on` has: began(), called when the session has another transcript. */
  constructor(authors, on) {
    this.#authors = authors;
    this.#on = on;
    byId('transcript-all').addEventListener('click', () => this.#older());
  }

  /** Shows a transcript of a session; the newest one, which is followed, when none is named. */
  async open(tenant, session, transcript, newest) {
    this.close();
    const opened = this.#opened;
    this.#tenant = tenant;
    if (!transcript || transcript === newest) {
      this.#follow(tenant, session);
      return;
    }
    const read = await ask(pathOf(tenant, transcript), { newest: true, limit: SHOWN });
    if (opened === this.#opened) this.#take(read);
  }

  close() {
    this.#opened += 1;
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#timer);
    this.#entries = [];
    byId('transcript-title').textContent = 'No transcript';
    byId('transcript-line').textContent = 'Choose a session.';
    byId('transcript-branches').hidden = true;
    byId('transcript-entries').replaceChildren();
    byId('transcript-all').hidden = true;
    this.#state('');
  }

  #follow(tenant, session) {
    const source = new EventSource(followAddress(tenant, session));
    this.#source = source;
    this.#state('connecting');
    source.addEventListener('open', () => this.#state('live'));
    source.addEventListener('reset', (event) => this.#take(parse(event.data)));
    source.addEventListener('began', (event) => {
      this.#take(parse(event.data));
      this.#on.began();
    });
    source.addEventListener('entry', (event) => this.#add(parse(event.data)));
    source.addEventListener('error', () => {
      this.#state('connecting');
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      this.#timer = setTimeout(() => this.#follow(tenant, session), RETRY_MS);
    });
  }

  #take(read) {
    this.#path = pathOf(this.#tenant, read.transcript);
    this.#entries = read.entries;
    this.#preceding = read.preceding;
    this.#length = read.length;
    this.#origin = read;
    byId('transcript-title').replaceChildren(foreign(read.transcript, 120));
    byId('transcript-branches').hidden = read.branches === 0;
    byId('transcript-branches').textContent =
      `${count(read.branches)} ${read.branches === 1 ? 'other branch goes' : 'other branches go'} on from a place in it: two writers extended the same entry.`;
    byId('transcript-entries').replaceChildren(...this.#entries.map((entry) => this.#item(entry)));
    this.#line();
    toEnd();
  }

  #add(entry) {
    this.#entries.push(entry);
    this.#length += 1;
    const stays = isAtEnd();
    byId('transcript-entries').append(this.#item(entry));
    this.#line();
    if (stays) toEnd();
  }

  async #older() {
    const [opened, path, [first]] = [this.#opened, this.#path, this.#entries];
    let read;
    try {
      read = await ask(path, { before: first.id, limit: SHOWN });
    } catch (error) {
      byId('transcript-all').textContent = `Earlier entries cannot be read: ${visible(error.message)}`;
      return;
    }
    // Meanwhile another one may be shown, or this one again.
    if (opened !== this.#opened || path !== this.#path || first !== this.#entries[0]) return;
    this.#entries.unshift(...read.entries);
    this.#preceding = read.preceding;
    byId('transcript-entries').prepend(...read.entries.map((entry) => this.#item(entry)));
    this.#line();
  }

  #line() {
    const length = this.#length;
    byId('transcript-line').replaceChildren(`${count(length)} ${length === 1 ? 'entry' : 'entries'} · `, originWords(this.#origin));
    byId('transcript-all').hidden = this.#preceding === 0 || this.#entries.length === 0;
    byId('transcript-all').textContent = `Show ${this.#preceding > SHOWN ? `${count(SHOWN)} of ` : ''}the ${count(this.#preceding)} before`;
  }

  #state(words) {
    const state = byId('transcript-state');
    if (state.textContent !== words) state.textContent = words;
    state.dataset.state = words;
  }

  #item(entry) {
    const { day, time } = dayAndTime(entry.time);
    const head = element('p', { class: 'head' },
      element('span', { class: 'kind' }, foreign(entry.kind, 60)), ' ', this.#authors.label(entry.author), ...markWords(entry),
      element('a', { class: 'when', href: `?#e=${entry.id}`, title: `${day} ${time} UTC, seq ${entry.seq}` },
        element('time', { datetime: entry.time }, time.slice(0, 8))));
    const item = element('li', {}, head, words(entry));
    this.#authors.paint(item, entry.author);
    return item;
  }
}

function pathOf(tenant, transcript) {
  return `transcripts/${encodeURIComponent(tenant)}/${encodeURIComponent(transcript)}`;
}

// Text reads as text; all else as JSON.
function words({ data, data_base64: base64 }) {
  const text = base64 ?? (typeof data === 'string' ? data : JSON.stringify(data, null, 2) ?? plain(data));
  const cut = text.length > CHARACTERS;
  const said = element('div', { class: typeof data === 'string' ? 'said' : 'said code' });
  said.append(visibleLines(text.slice(0, CHARACTERS)) + (cut ? '…' : ''));
  said.dir = 'auto';
  return said;
}

function isAtEnd() {
  const scroller = byId('transcript-scroller');
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
}

function toEnd() {
  const scroller = byId('transcript-scroller');
  scroller.scrollTop = scroller.scrollHeight;
}
