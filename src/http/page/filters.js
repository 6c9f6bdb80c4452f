// The filters: a form whose state is the page's address, so that a filtered log can be bookmarked and sent.

import { element, byId, shortId } from './element.js';
import { visible } from './foreign.js';

const NAMES = ['grep', 'topic', 'kind', 'author', 'tenant', 'since'];
const SUGGESTIONS = 50;
const TYPING_MS = 350;

export class Filters {
  #form = byId('filters');
  #changed;
  #timer = null;
  #seen = { topic: new Set(), kind: new Set(), tenant: new Set() };
  #authorsVersion = -1;

  constructor(changed) {
    this.#changed = changed;
    this.readAddress();
    this.#form.addEventListener('input', () => this.#soon(TYPING_MS));
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#soon(0);
    });
    this.#form.addEventListener('reset', () => this.#soon(0)); // after the fields were emptied
  }

  /** Sets the filters that the page's address says. */
  readAddress() {
    const query = new URLSearchParams(location.search);
    if (query.get('view')) return; // another view's address
    this.#offerAuthor(query.get('author') ?? '', shortId(query.get('author') ?? ''));
    for (const name of NAMES) this.#form.elements[name].value = query.get(name) ?? '';
    this.#showClear();
  }

  /** The filters set, as query parameters. */
  current() {
    const set = NAMES.map((name) => [name, this.#form.elements[name].value.trim()]);
    return Object.fromEntries(set.filter(([, value]) => value !== ''));
  }

  /** Offers the topics and kinds of these entries as suggestions. */
  suggest(entries) {
    for (const [name, seen] of Object.entries(this.#seen)) {
      for (const entry of entries) {
        const value = entry[name];
        // A suggestion that hides characters would not be what it seems.
        if (seen.size >= SUGGESTIONS || seen.has(value) || visible(value) !== value) continue;
        seen.add(value);
        byId(`${name}s-seen`).append(element('option', { value }));
      }
    }
  }

  /** Offers every author by name. */
  offer(authors) {
    if (authors.version === this.#authorsVersion) return;
    this.#authorsVersion = authors.version;
    for (const { id, name } of authors.all()) {
      this.#offerAuthor(id, name ? `${visible(name).slice(0, 40)} ${shortId(id)}` : shortId(id));
    }
  }

  #offerAuthor(id, text) {
    const select = this.#form.elements.author;
    const known = [...select.options].find((option) => option.value === id);
    if (!known) select.append(element('option', { value: id }, text));
    else if (id !== '') known.textContent = text;
  }

  #soon(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#apply(), delay);
  }

  #apply() {
    const query = new URLSearchParams(this.current()).toString();
    const address = query ? `?${query}` : location.pathname;
    if (location.search === (query && address)) return;
    history.replaceState(null, '', address + location.hash);
    this.#showClear();
    this.#changed(this.current());
  }

  #showClear() {
    byId('clear').hidden = Object.keys(this.current()).length === 0;
  }
}
