// One filter's feed: the newest page of the merged log, then every arrival.
// The stream opens first and the page is loaded after, so that nothing falls between the two.

import { address, mergedPage } from './api.js';
import { parse } from './entry.js';

const RETRY_FIRST_MS = 1_000;
const RETRY_MOST_MS = 30_000;

export class Feed {
  #filter;
  #on;
  #source = null;
  #timer = null;
  #reloadTimer = null;
  #retry = RETRY_FIRST_MS;
  #closed = false;
  #reloads = 0;

  /** `on` has: newest(page), arrived(entry), reset(), connection('live' | 'connecting'), failed(error | null). */
  constructor(filter, on) {
    this.#filter = filter;
    this.#on = on;
    this.#open();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#reloadTimer);
    this.#source?.close();
  }

  /** Loads the newest page again. */
  async reload() {
    const reload = ++this.#reloads;
    const isStale = () => this.#closed || reload !== this.#reloads;
    try {
      const page = await mergedPage(this.#filter);
      if (isStale()) return;
      this.#on.failed(null);
      this.#on.newest(page);
    } catch (error) {
      if (isStale()) return;
      this.#on.failed(error);
      clearTimeout(this.#reloadTimer);
      this.#reloadTimer = setTimeout(() => this.reload(), RETRY_MOST_MS);
    }
  }

  #open() {
    const source = new EventSource(address('stream', { ...this.#filter, after: 'end' }));
    this.#source = source;
    source.addEventListener('open', () => this.#opened());
    source.addEventListener('error', () => this.#broke(source));
    source.addEventListener('reset', () => {
      this.#on.reset(); // entries were archived since: begin again from the end
      this.#reopen(0);
    });
    for (const kind of ['entry', 'gap']) {
      source.addEventListener(kind, (event) => this.#on.arrived(parse(event.data)));
    }
  }

  #opened() {
    this.#retry = RETRY_FIRST_MS;
    this.#on.connection('live');
    this.reload();
  }

  // A cut connection is EventSource's to mend, by Last-Event-ID; a refused one it gives up on, so we try again.
  #broke(source) {
    this.#on.connection('connecting');
    if (source.readyState !== EventSource.CLOSED) return;
    this.reload(); // the log can be read, or says why not, even when there is no stream
    this.#reopen(this.#retry);
    this.#retry = Math.min(this.#retry * 2, RETRY_MOST_MS);
  }

  #reopen(delay) {
    this.#source.close();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), delay);
  }
}
