// One entry in full: every field of its JSON.

import { byId, count, element } from './element.js';
import { address } from './api.js';
import { GAP, gapText, marks } from './entry.js';
import { foreign, visibleLines } from './foreign.js';

const SHOWN_AT_FIRST = 200_000; // characters; a browser needs seconds to lay out megabytes

export class Detail {
  #dialog = byId('detail');
  #authors;
  #json = '';

  constructor(authors) {
    this.#authors = authors;
    byId('detail-close').addEventListener('click', () => this.#dialog.close());
    byId('detail-copy').addEventListener('click', () => this.#copy());
    byId('detail-all').addEventListener('click', () => this.#show(this.#json.length));
    this.#dialog.addEventListener('click', (event) => {
      if (event.target === this.#dialog) this.#dialog.close(); // the backdrop
    });
  }

  open(entry) {
    const title = entry.kind === GAP ? gapText(entry.data ?? {}) : entry.kind;
    byId('detail-title').replaceChildren(foreign(title, 200));
    byId('detail-line').replaceChildren(
      this.#authors.label(entry.author, { withId: true }), ` seq ${entry.seq} · `,
      element('time', { datetime: entry.time }, entry.time), ' · ', foreign(entry.topic, 200),
      ...marks(entry).flatMap(([mark, means]) => [' ', element('span', { class: `mark ${mark}` }, mark), ` ${means}`]),
    );
    byId('detail-link').href = address(`entries/${entry.author}/${entry.seq}`);
    byId('detail-said').textContent = '';
    this.#json = JSON.stringify(entry, null, 2);
    this.#show(SHOWN_AT_FIRST);
    this.#dialog.showModal();
    byId('detail-json').scrollTop = 0;
  }

  isOpen() {
    return this.#dialog.open;
  }

  onClose(closed) {
    this.#dialog.addEventListener('close', closed);
  }

  #show(length) {
    byId('detail-json').textContent = visibleLines(this.#json.slice(0, length));
    const all = byId('detail-all');
    all.hidden = length >= this.#json.length;
    all.textContent = `Show all ${count(this.#json.length)} characters`;
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.#json);
      byId('detail-said').textContent = 'copied';
    } catch {
      byId('detail-said').textContent = 'the browser refused to copy';
    }
  }
}
