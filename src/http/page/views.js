// Which view is shown, by the page's address: `?view=sessions`, or the log.

import { byId } from './element.js';

export class Views {
  #links = [...document.querySelectorAll('[data-view]')];
  #views;
  #shown = null;
  #address = null;

  /** `views`: name → { section, open(), close() }. The first one is shown when the address names none. */
  constructor(views) {
    this.#views = views;
    for (const link of this.#links) link.addEventListener('click', (event) => this.#follow(event, link));
    window.addEventListener('popstate', () => {
      if (location.search !== this.#address) this.show(); // else only what follows the # is another
    });
  }

  /** Shows the view that the address names. */
  show() {
    this.#address = location.search;
    const asked = new URLSearchParams(location.search).get('view');
    const name = Object.hasOwn(this.#views, asked ?? '') ? asked : Object.keys(this.#views)[0];
    if (this.#shown !== null && this.#shown !== name) this.#views[this.#shown].close();
    this.#shown = name;
    for (const [other, { section }] of Object.entries(this.#views)) byId(section).hidden = other !== name;
    for (const link of this.#links) {
      if (link.dataset.view === name) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
    const { section, open } = this.#views[name];
    byId('skip').hash = section;
    byId('skip').textContent = `Skip to the ${section}`;
    open();
  }

  /** Makes this the page's address, and shows what it names. */
  go(href) {
    history.pushState(null, '', href);
    this.show();
  }

  // A click that means another tab or window is the browser's.
  #follow(event, link) {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (link.dataset.view === this.#shown) return;
    this.go(link.getAttribute('href'));
  }
}
