// One entry in full: every field of its JSON, and whether its proof holds.

import { byId, count, element } from './element.js';
import { address, ask, entryPath } from './api.js';
import { GAP, gapText, marks } from './entry.js';
import { foreign, visible, visibleLines } from './foreign.js';
import { ProofPanel } from './proof_panel.js';

const SHOWN_AT_FIRST = 200_000; // characters; a browser needs seconds to lay out megabytes
const NAMED = /^#e=(([0-9a-f]{64}):(\d{1,20})(?:@[0-9a-f]{32})?)$/; // the entry that the page's address names

export class Detail {
  #dialog = byId('detail');
  #proof = new ProofPanel();
  #authors;
  #id = null;
  #json = '';

  constructor(authors) {
    this.#authors = authors;
    byId('detail-close').addEventListener('click', () => this.#dialog.close());
    byId('detail-copy').addEventListener('click', () => this.#copy());
    byId('detail-all').addEventListener('click', () => this.#show(this.#json.length));
    this.#dialog.addEventListener('click', (event) => {
      if (event.target === this.#dialog) this.#dialog.close(); // the backdrop
    });
    this.#dialog.addEventListener('close', () => this.#forget());
    window.addEventListener('hashchange', () => this.openNamed());
  }

  /** Shows an entry; one that the page holds in short is asked for in full. */
  async open(entry) {
    this.#showEntry(entry);
    if (entry.abridged) await this.#fetch(entry.id);
  }

  /** Shows the entry that the page's address names, if it names one. */
  async openNamed() {
    const [, id, author, seq] = NAMED.exec(location.hash) ?? [];
    if (!id || this.#id === id) return;
    this.#begin({ id, author, seq }, `entry ${seq}`);
    await this.#fetch(id);
  }

  isOpen() {
    return this.#dialog.open;
  }

  onClose(closed) {
    this.#dialog.addEventListener('close', closed);
  }

  async #fetch(id) {
    byId('detail-said').textContent = 'loading all of it';
    try {
      const entry = await ask(entryPath(id));
      if (this.#id === id) this.#showEntry(entry);
    } catch (error) {
      if (this.#id === id) byId('detail-said').textContent = `it cannot be read: ${visible(error.message)}`;
    }
  }

  #begin({ id, author, seq }, title) {
    this.#id = id;
    byId('detail-title').replaceChildren(foreign(title, 200));
    byId('detail-line').replaceChildren(this.#authors.label(author, { withId: true }), ` seq ${seq}`);
    byId('detail-link').href = address(entryPath(id));
    byId('detail-said').textContent = '';
    byId('detail-all').hidden = true;
    byId('detail-json').textContent = '';
    this.#proof.clear();
    const named = `#e=${this.#id}`;
    if (location.hash !== named) history.replaceState(null, '', named);
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  #showEntry(entry) {
    this.#begin(entry, entry.kind === GAP ? gapText(entry.data ?? {}) : entry.kind);
    byId('detail-line').append(
      ' · ', element('time', { datetime: entry.time }, entry.time), ' · ', foreign(entry.topic, 200),
      ...marks(entry).flatMap(([mark, means]) => [' ', element('span', { class: `mark ${mark}` }, mark), ` ${means}`]),
    );
    this.#json = JSON.stringify(entry, null, 2);
    this.#show(SHOWN_AT_FIRST);
    byId('detail-json').scrollTop = 0;
    if (!entry.abridged) this.#proof.check(entry);
  }

  #show(length) {
    byId('detail-json').textContent = visibleLines(this.#json.slice(0, length));
    const all = byId('detail-all');
    all.hidden = length >= this.#json.length;
    all.textContent = `Show all ${count(this.#json.length)} characters`;
  }

  #forget() {
    this.#id = null;
    this.#proof.clear();
    if (NAMED.test(location.hash)) history.replaceState(null, '', location.pathname + location.search);
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
