// The merged log on the page: a row an entry, newest at the top, in the lane of its author.

import { element, byId } from './element.js';
import { entryRow } from './rows.js';
import { ListWindow } from './window.js';

const NARROW_PX = 700;
const LANE_LEAST_PX = 200; // a narrower lane shows too little: lanes become rails then, and cards stand beside them
const RAILS_MOST_PX = 260;
const RAIL_MOST_PX = 15;
const LIT_MS = 4_000;
const NONE = new Set();

export class Lanes {
  #list = byId('entries-list');
  #names = byId('lane-names');
  #scroller = byId('scroller');
  #authors;
  #authorsVersion = -1;
  #find;
  #window;
  #lit = NONE;
  #nearEnd;
  #tabStop = null; // the id of the one row that is in the tab order

  /** `on` has: find(id), which gives the entry; open(entry); nearEnd(). */
  constructor(authors, on) {
    this.#authors = authors;
    this.#find = on.find;
    this.#window = new ListWindow(this.#list, this.#scroller, (entry) => this.#row(entry));
    this.#list.addEventListener('click', (event) => {
      const row = event.target.closest('li');
      if (row) on.open(on.find(row.dataset.id));
    });
    this.#list.addEventListener('keydown', (event) => this.#move(event));
    this.#list.addEventListener('focusin', (event) => this.#makeTabStop(event.target));
    new ResizeObserver(() => this.#fitLanes()).observe(this.#list);
    this.#nearEnd = new IntersectionObserver((ends) => ends.at(-1).isIntersecting && on.nearEnd(), { rootMargin: '800px 0px' });
  }

  /** Makes the list show exactly these entries; those whose ids are in `arrived` light up once. */
  draw(entries, arrived = NONE) {
    this.#lit = arrived;
    this.relabel();
    this.#window.show(entries);
    for (const row of this.#window.drawn()) row.classList.toggle('is-late', Boolean(this.#find(row.dataset.id)?.late));
    this.#keepTabStop();
    // It tells of changes only. Asked anew, it tells how things are: the end may still, or again, be near.
    this.#nearEnd.unobserve(byId('end'));
    this.#nearEnd.observe(byId('end'));
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
    this.#scroller.style.setProperty('--lanes', authors.length || 1);
    this.#fitLanes();
    this.#window.redraw();
    this.#keepTabStop();
  }

  /** True while the keyboard is on a row: rows must not move away from it. */
  hasKeyboard() {
    return this.#list.querySelector(':focus-visible') !== null;
  }

  #row(entry) {
    const row = entryRow(entry, this.#authors);
    row.classList.toggle('arrived', this.#lit.has(entry.id));
    if (entry.id === this.#tabStop) row.querySelector('button').setAttribute('tabindex', '0');
    return row;
  }

  #unlight(ids) {
    if (this.#lit === ids) this.#lit = NONE;
    for (const row of this.#window.drawn()) if (ids.has(row.dataset.id)) row.classList.remove('arrived');
  }

  #fitLanes() {
    const width = this.#list.clientWidth;
    const lanes = this.#authors.all().length || 1;
    const isTight = lanes > 1 && width / lanes < LANE_LEAST_PX;
    const shape = width < NARROW_PX ? 'one' : isTight ? 'rails' : 'each';
    this.#scroller.style.setProperty('--rail', `${Math.max(3, Math.min(RAIL_MOST_PX, Math.floor(RAILS_MOST_PX / lanes)))}px`);
    if (this.#scroller.dataset.lanes === shape) return;
    this.#scroller.dataset.lanes = shape;
    this.#window.refresh();
  }

  // One row is in the tab order, keys move between rows: a hundred thousand tab stops would be a wall.
  #move(event) {
    const at = this.#window.indexOf(event.target);
    const to = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: Math.min(at + this.#window.perScreen, this.#window.length - 1),
      PageUp: Math.max(at - this.#window.perScreen, 0),
      Home: 0,
      End: this.#window.length - 1,
    }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    this.#window.focus(to);
  }

  #makeTabStop(button) {
    this.#list.querySelector('[tabindex="0"]')?.setAttribute('tabindex', '-1');
    button.setAttribute('tabindex', '0');
    this.#tabStop = button.closest('li').dataset.id;
  }

  #keepTabStop() {
    if (this.#list.contains(document.activeElement)) return;
    const newest = this.#list.querySelector('button');
    if (newest) this.#makeTabStop(newest);
  }
}
