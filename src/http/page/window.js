// A window on a long list: only the rows in sight, and a few around them, are in the document.
// Rows have one height, so where each one lies is a multiplication, and a hundred thousand cost no more than a hundred.

const AROUND = 12; // rows drawn above and below what is in sight, so that scrolling finds them there

export class ListWindow {
  #list;
  #scroller;
  #make;
  #rows = new Map(); // id → row, as drawn
  #items = [];
  #height = 0;
  #frame = null;
  #focused = null; // the id of the row that has the keyboard: it stays drawn wherever it is

  /** `make(item, index)` gives a new row for an item, which has an `id`. */
  constructor(list, scroller, make) {
    this.#list = list;
    this.#scroller = scroller;
    this.#make = make;
    document.addEventListener('scroll', () => this.#soon(), { capture: true, passive: true });
    new ResizeObserver(() => this.refresh()).observe(list);
    new ResizeObserver(() => this.#soon()).observe(scroller);
    list.addEventListener('focusin', (event) => { this.#focused = event.target.closest('li')?.dataset.id ?? null; });
    list.addEventListener('focusout', () => { this.#focused = null; });
  }

  /** Makes the list show these items. */
  show(items) {
    this.#items = items;
    this.refresh();
  }

  /** Draws all rows anew: what they say has changed. */
  redraw() {
    const hadKeyboard = this.#focused;
    for (const row of this.#rows.values()) row.remove();
    this.#rows.clear();
    this.refresh();
    if (hadKeyboard) this.#rows.get(hadKeyboard)?.querySelector('button').focus({ preventScroll: true });
  }

  /** Measures again, as the height of rows depends on the width, and draws what is in sight. */
  refresh() {
    const height = Number.parseFloat(getComputedStyle(this.#list).getPropertyValue('--row')) || 44;
    if (height !== this.#height) {
      this.#height = height;
      for (const row of this.#rows.values()) row.style.removeProperty('transform');
    }
    this.#list.style.height = `${this.#items.length * height}px`;
    this.#draw();
  }

  /** How many items there are. */
  get length() {
    return this.#items.length;
  }

  /** The place of the row that an element is in, or -1. */
  indexOf(element) {
    const row = element?.closest?.('li');
    return row ? Number(row.getAttribute('aria-posinset')) - 1 : -1;
  }

  /** How many rows fit on what is seen of the list. */
  get perScreen() {
    const { from, to } = this.#sight();
    return Math.max(1, Math.floor((to - from) / this.#height) - 1);
  }

  /** Gives the keyboard to the row at this place, and scrolls to it. */
  focus(index) {
    const item = this.#items[index];
    if (!item) return;
    const row = this.#rows.get(item.id) ?? this.#place(item, index);
    row.querySelector('button').focus({ preventScroll: true });
    row.scrollIntoView({ block: 'nearest' });
  }

  /** The rows that are drawn. */
  drawn() {
    return this.#rows.values();
  }

  #soon() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#draw();
    });
  }

  #sight() {
    const top = this.#list.getBoundingClientRect().top;
    const scroller = this.#scroller.getBoundingClientRect();
    const from = Math.max(0, scroller.top) - top;
    const to = Math.min(innerHeight, scroller.bottom) - top;
    return { from: Math.max(0, from), to: Math.max(from, to) };
  }

  #draw() {
    const { from, to } = this.#sight();
    const first = Math.max(0, Math.floor(from / this.#height) - AROUND);
    const last = Math.min(this.#items.length, Math.ceil(to / this.#height) + AROUND);
    const drawn = new Set();
    for (let index = first; index < last; index += 1) {
      drawn.add(this.#items[index].id);
      this.#place(this.#items[index], index);
    }
    for (const [id, row] of this.#rows) {
      if (drawn.has(id) || id === this.#focused) continue;
      row.remove();
      this.#rows.delete(id);
    }
  }

  // Rows stand in the document in their order: a screen reader reads on from one to the next.
  #place(item, index) {
    let row = this.#rows.get(item.id);
    if (!row) {
      row = this.#make(item, index);
      row.dataset.id = item.id;
      this.#rows.set(item.id, row);
    }
    const at = String(index + 1);
    if (row.getAttribute('aria-posinset') !== at) row.setAttribute('aria-posinset', at);
    row.setAttribute('aria-setsize', String(this.#items.length));
    row.style.transform = `translateY(${index * this.#height}px)`;
    row.classList.toggle('new-day', index === 0 || row.dataset.day !== this.#items[index - 1].time.slice(0, 10));
    this.#inOrder(row, index);
    return row;
  }

  // A row that stands right is left alone: one that moves in the document loses the keyboard.
  #inOrder(row, index) {
    const before = this.#rows.get(this.#items[index - 1]?.id);
    const after = this.#rows.get(this.#items[index + 1]?.id);
    if (before?.isConnected) {
      if (before.nextElementSibling !== row) before.after(row);
    } else if (after?.isConnected) {
      if (after.previousElementSibling !== row) after.before(row);
    } else if (!row.isConnected) {
      const later = [...this.#list.children].find((other) => Number(other.getAttribute('aria-posinset')) > index + 1);
      this.#list.insertBefore(row, later ?? null);
    }
  }
}
