// The merged log on the page: a row an entry, newest at the top, in the lane of its author.

import { element, byId } from './element.js';
import { GAP, dayAndTime, gapText, marks, plain } from './entry.js';
import { foreign } from './foreign.js';

const NARROW_PX = 700;
const LANE_LEAST_PX = 200; // a narrower lane shows too little: one column then
const FIELDS_SHOWN = 8;
const LIT_MS = 4_000;
const NONE = new Set();

export class Lanes {
  #list = byId('entries-list');
  #names = byId('lane-names');
  #authors;
  #authorsVersion = -1;
  #rows = new Map(); // id → { row, entry }

  constructor(authors, open) {
    this.#authors = authors;
    this.#list.addEventListener('click', (event) => {
      const row = event.target.closest('li');
      if (row) open(this.#rows.get(row.dataset.id).entry);
    });
    this.#list.addEventListener('keydown', (event) => this.#move(event));
    this.#list.addEventListener('focusin', (event) => this.#makeTabStop(event.target));
    new ResizeObserver(() => this.#fitLanes()).observe(this.#list);
  }

  /** Makes the list show exactly these entries; those whose ids are in `arrived` light up once. */
  draw(entries, arrived = NONE) {
    const ids = new Set(entries.map((entry) => entry.id));
    for (const [id, { row }] of this.#rows) {
      if (ids.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    let at = this.#list.firstElementChild;
    let day = null;
    for (const entry of entries) {
      const row = this.#rows.get(entry.id)?.row ?? this.#newRow(entry, arrived.has(entry.id));
      if (row === at) at = at.nextElementSibling;
      else this.#list.insertBefore(row, at);
      row.classList.toggle('new-day', row.dataset.day !== day);
      day = row.dataset.day;
    }
    this.relabel();
    this.#keepTabStop();
    // A row out of sight would light up when scrolled to, long after it arrived.
    if (arrived.size > 0) setTimeout(() => this.#unlight(arrived), LIT_MS);
  }

  /** Draws lanes and names again when an author or a name is new. */
  relabel() {
    if (this.#authorsVersion === this.#authors.version) return;
    this.#authorsVersion = this.#authors.version;
    const authors = this.#authors.all();
    this.#names.replaceChildren(
      element('span', {}, 'time'),
      ...authors.map(({ id }) => this.#authors.label(id, { withId: true })),
    );
    byId('scroller').style.setProperty('--lanes', authors.length || 1);
    for (const { row, entry } of this.#rows.values()) {
      row.querySelector('.author').replaceWith(this.#authors.label(entry.author));
    }
    this.#fitLanes();
  }

  /** True while the keyboard is on a row: rows must not move away from it. */
  hasKeyboard() {
    return this.#list.querySelector(':focus-visible') !== null;
  }

  #newRow(entry, isArrival) {
    const { day, time } = dayAndTime(entry.time);
    const { lane } = this.#authors.see(entry.author);
    const isGap = entry.kind === GAP;
    const card = element('span', { class: 'card' }, ...(isGap ? gapWords(entry) : entryWords(entry)));
    const button = element('button', { type: 'button', tabindex: '-1' },
      element('time', { datetime: entry.time, 'data-day': day },
        time.slice(0, 8), element('span', { class: 'millis' }, time.slice(8))),
      this.#authors.label(entry.author), card);
    button.style.setProperty('--lane', lane + 1);
    const row = element('li', { 'data-id': entry.id, 'data-day': day }, button);
    this.#authors.paint(row, entry.author);
    row.classList.toggle('gap', isGap);
    row.classList.toggle('arrived', isArrival);
    row.classList.toggle('is-late', Boolean(entry.late));
    this.#rows.set(entry.id, { row, entry });
    return row;
  }

  #unlight(ids) {
    for (const id of ids) this.#rows.get(id)?.row.classList.remove('arrived');
  }

  #fitLanes() {
    const width = this.#list.clientWidth;
    const lanes = this.#authors.all().length || 1;
    const one = width < NARROW_PX || (lanes > 1 && width / lanes < LANE_LEAST_PX);
    byId('scroller').dataset.lanes = one ? 'one' : 'each';
  }

  // One row is in the tab order, the arrows move between rows: 2,000 tab stops would be a wall.
  #move(event) {
    const row = event.target.closest('li');
    const to = {
      ArrowDown: row?.nextElementSibling,
      ArrowUp: row?.previousElementSibling,
      Home: this.#list.firstElementChild,
      End: this.#list.lastElementChild,
    }[event.key];
    if (!to) return;
    event.preventDefault();
    to.querySelector('button').focus();
  }

  #makeTabStop(button) {
    this.#list.querySelector('[tabindex="0"]')?.setAttribute('tabindex', '-1');
    button.setAttribute('tabindex', '0');
  }

  #keepTabStop() {
    if (this.#list.contains(document.activeElement)) return;
    const newest = this.#list.querySelector('button');
    if (newest) this.#makeTabStop(newest);
  }
}

function gapWords(entry) {
  return [element('span', { class: 'head' }, foreign(gapText(entry.data ?? {})), ...markWords(entry))];
}

function entryWords(entry) {
  const topic = element('span', { class: 'topic' });
  if (entry.tenant && entry.tenant !== 'default') topic.append(foreign(entry.tenant, 40), ' · ');
  topic.append(foreign(entry.topic, 80));
  const head = element('span', { class: 'head' },
    element('span', { class: 'kind' }, foreign(entry.kind, 60)), ' ', topic, ...markWords(entry));
  const data = dataWords(entry);
  return data.length > 0 ? [head, element('span', { class: 'data' }, ...data)] : [head];
}

function markWords(entry) {
  return marks(entry).flatMap(([mark, means]) => [' ', element('span', { class: `mark ${mark}`, title: means }, mark)]);
}

// An object reads as `from backlog  to coding`: its keys set apart by colour, so that no value can pose as a key.
function dataWords({ data, data_base64: base64 }) {
  if (base64 !== undefined) return [element('span', { class: 'name' }, 'bytes '), foreign(base64, 60)];
  if (data === undefined || data === null || data === '') return [];
  if (typeof data !== 'object' || Array.isArray(data) || JSON.isRawJSON?.(data)) return [foreign(plain(data))];
  return Object.entries(data).slice(0, FIELDS_SHOWN).flatMap(([name, value], at) => [
    at > 0 ? '  ' : '',
    element('span', { class: 'name' }, foreign(name, 40)), ' ', foreign(plain(value), 120),
  ]);
}
