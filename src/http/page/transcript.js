// A transcript: what was said, oldest first; and live, when it is the newest of its session.

import { ask } from './api.js';
import { byId, count, element } from './element.js';
import { dayAndTime, parse, plain } from './entry.js';
import { foreign, visibleLines } from './foreign.js';
import { markWords } from './rows.js';
import { followAddress, originWords } from './sessions.js';

const SHOWN = 1_000; // entries at first, the newest; browsers lay out only those in sight, and keep all
const CHARACTERS = 20_000; // of one entry
const RETRY_MS = 3_000;

export class Transcript {
  #authors;
  #on;
  #source = null;
  #timer = null;
  #opened = 0;
  #entries = [];
  #origin = { origin: 'start' };

  /** `on` has: began(), called when the session has another transcript. */
  constructor(authors, on) {
    this.#authors = authors;
    this.#on = on;
    byId('transcript-all').addEventListener('click', () => this.#draw(Infinity));
  }

  /** Shows a transcript of a session; the newest one, which is followed, when none is named. */
  async open(tenant, session, transcript, newest) {
    this.close();
    const opened = this.#opened;
    if (!transcript || transcript === newest) {
      this.#follow(tenant, session);
      return;
    }
    const read = await ask(`transcripts/${encodeURIComponent(tenant)}/${encodeURIComponent(transcript)}`);
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
    this.#entries = read.entries;
    this.#origin = read;
    byId('transcript-title').replaceChildren(foreign(read.transcript, 120));
    byId('transcript-branches').hidden = read.forks.length === 0;
    byId('transcript-branches').textContent =
      `${count(read.forks.length)} ${read.forks.length === 1 ? 'other branch goes' : 'other branches go'} on from a place in it: two writers extended the same entry.`;
    this.#draw(SHOWN);
  }

  #add(entry) {
    this.#entries.push(entry);
    const stays = isAtEnd();
    byId('transcript-entries').append(this.#item(entry));
    this.#line();
    if (stays) toEnd();
  }

  #draw(most) {
    const shown = most < this.#entries.length ? this.#entries.slice(-most) : this.#entries;
    byId('transcript-entries').replaceChildren(...shown.map((entry) => this.#item(entry)));
    byId('transcript-all').hidden = shown.length === this.#entries.length;
    byId('transcript-all').textContent = `Show the ${count(this.#entries.length - shown.length)} before`;
    this.#line();
    if (most !== Infinity) toEnd();
  }

  #line() {
    const { length } = this.#entries;
    byId('transcript-line').replaceChildren(`${count(length)} ${length === 1 ? 'entry' : 'entries'} · `, originWords(this.#origin));
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
