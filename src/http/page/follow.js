// Whether arrivals are shown at once or wait. They wait while the reader reads, so that nothing moves under the eye.

import { MOST } from './log.js';

const DRAW_EVERY_MS = 150; // a burst is drawn once, not entry by entry

export class Follow {
  #waiting = [];
  #incomplete = false;
  #count = 0;
  #timer = null;
  #paused = false;
  #loading = true;
  #isReading;
  #on;

  /** `on` has: show(entries), reload(), changed(). */
  constructor(isReading, on) {
    this.#isReading = isReading;
    this.#on = on;
  }

  arrived(entry) {
    this.#count += 1;
    this.#waiting.push(entry);
    if (this.#waiting.length > MOST) this.missed();
    this.#timer ??= setTimeout(() => this.settle(), DRAW_EVERY_MS);
  }

  /** Shows what waits, unless the reader is reading. To be called when that may have changed. */
  settle() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (!this.#loading && !this.isHeld()) this.#release();
    this.#on.changed();
  }

  /** The page that arrivals join is loaded. */
  loaded() {
    this.#loading = false;
    this.settle();
  }

  /** A page is to come that covers all that waits; what arrives from now on waits for it. */
  clear() {
    this.#forget();
    this.#loading = true;
  }

  /** Arrivals were lost, or too many to keep: the newest page is loaded when the reader returns. */
  missed() {
    this.#waiting = [];
    this.#incomplete = true;
  }

  pause() {
    this.#paused = true;
    this.settle();
  }

  resume() {
    this.#paused = false;
    this.settle();
  }

  isPaused() {
    return this.#paused;
  }

  isHeld() {
    return this.#paused || this.#isReading();
  }

  /** How many entries wait to be shown. */
  get waiting() {
    return this.#count;
  }

  #release() {
    const entries = this.#waiting;
    const { reload, show } = this.#on;
    if (this.#incomplete) reload();
    else if (entries.length > 0) show(entries);
    this.#forget();
  }

  #forget() {
    this.#waiting = [];
    this.#incomplete = false;
    this.#count = 0;
  }
}
