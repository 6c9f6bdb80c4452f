// The sessions of a tenant, newest first, and which transcript of them is read. Both are in the page's address.

import { address, ask } from './api.js';
import { byId, count, element } from './element.js';
import { dayAndTime } from './entry.js';
import { foreign, visible } from './foreign.js';
import { Transcript } from './transcript.js';

const DEFAULT = 'default';
const ANNOUNCED = { kind: 'towline.transcript', order: 'time', reverse: 'true', limit: 1_000 };
const LISTED = 100;

export class Sessions {
  #transcript;
  #authors;
  #go;
  #sessions = [];
  #next = null;
  #transcripts = []; // of the session that is chosen
  #opened = 0; // what comes for an address that is no longer shown is passed over
  #listed = null; // the tenant whose sessions are listed

  /** `go(href)` makes this the page's address, and shows what it names. */
  constructor(authors, go) {
    this.#authors = authors;
    this.#go = go;
    this.#transcript = new Transcript(authors, { began: () => this.#refresh() });
    byId('sessions-tenant').addEventListener('change', (event) => this.#go(link({ tenant: event.target.value })));
    byId('sessions-more').addEventListener('click', () => this.#more());
    byId('sessions-list').addEventListener('click', (event) => this.#follow(event));
  }

  /** Shows what the page's address names. */
  async open() {
    const opened = ++this.#opened;
    const { tenant, session, transcript } = this.#place();
    try {
      if (this.#listed !== tenant) await this.#list(tenant);
      this.#transcripts = session ? (await ask(`${sessionsOf(tenant)}/${part(session)}`)).transcripts : [];
      if (opened !== this.#opened) return;
      this.#problem(null);
      this.#draw();
      if (session) this.#transcript.open(tenant, session, transcript, this.#transcripts[0]?.transcript);
      else this.#transcript.close();
    } catch (error) {
      if (opened === this.#opened) this.#problem(error);
    }
  }

  close() {
    this.#opened += 1;
    this.#listed = null;
    this.#transcript.close();
  }

  #place() {
    const query = new URLSearchParams(location.search);
    return {
      tenant: query.get('tenant') ?? DEFAULT,
      session: query.get('session'),
      transcript: query.get('transcript'),
    };
  }

  #follow(event) {
    const to = event.target.closest('a');
    if (!to || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.#go(to.getAttribute('href'));
  }

  async #refresh() {
    this.#listed = null;
    await this.open();
  }

  async #list(tenant) {
    const [page, announced] = await Promise.all([ask(sessionsOf(tenant), { limit: LISTED }), ask('entries', ANNOUNCED)]);
    this.#sessions = page.sessions;
    this.#next = page.next;
    this.#listed = tenant;
    const tenants = new Set([DEFAULT, tenant, ...announced.entries.map((entry) => entry.tenant)]);
    byId('sessions-tenant').replaceChildren(...[...tenants].sort().map((name) => element('option', { value: name }, name)));
    byId('sessions-tenant').value = tenant;
  }

  async #more() {
    const { tenant } = this.#place();
    try {
      const page = await ask(sessionsOf(tenant), { limit: LISTED, after: this.#next });
      if (this.#listed !== tenant) return;
      this.#sessions.push(...page.sessions);
      this.#next = page.next;
      this.#draw();
    } catch (error) {
      this.#problem(error);
    }
  }

  #draw() {
    const hadKeyboard = byId('sessions-list').contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
    const place = this.#place();
    byId('sessions-list').replaceChildren(element('ul', {}, ...this.#sessions.map((it) => this.#sessionItem(it, place))));
    byId('sessions-end').textContent = this.#sessions.length > 0 ? '' : 'No sessions of this tenant.';
    byId('sessions-more').hidden = this.#next === null;
    if (hadKeyboard) [...byId('sessions-list').querySelectorAll('a')].find((it) => it.getAttribute('href') === hadKeyboard)?.focus();
  }

  #sessionItem({ session, began, author, transcripts }, { tenant, session: chosen, transcript }) {
    const to = element('a', { href: link({ tenant, session }) }, foreign(session, 80));
    const about = element('span', { class: 'about' }, this.#authors.label(author), ` ${when(began)} · ${count(transcripts)} ${transcripts === 1 ? 'transcript' : 'transcripts'}`);
    const item = element('li', {}, to, about);
    if (session !== chosen) return item;
    if (!transcript) to.setAttribute('aria-current', 'true');
    item.append(element('ul', { 'aria-label': 'transcripts' }, ...this.#transcripts.map((it) => {
      const one = element('a', { href: link({ tenant, session, transcript: it.transcript }) }, foreign(it.transcript, 80));
      if (it.transcript === transcript) one.setAttribute('aria-current', 'true');
      return element('li', {}, one, element('span', { class: 'about' }, originWords(it), ` · ${when(it.began)}`));
    })));
    return item;
  }

  #problem(error) {
    byId('sessions-problem').hidden = error === null;
    byId('sessions-problem').textContent = error === null ? '' : `Sessions cannot be read: ${visible(error.message)}`;
  }
}

/** Where a transcript comes from, in words. */
export function originWords({ origin, of, at }) {
  const words = document.createDocumentFragment();
  if (origin === 'fork') words.append('fork of ', foreign(of, 60), ` at ${count(at)}`);
  else if (origin === 'compaction') words.append('sums up ', foreign(of, 60));
  else words.append('from the start');
  return words;
}

function when(rfc3339) {
  const { day, time } = dayAndTime(rfc3339);
  return `${day} ${time.slice(0, 8)}`;
}

/** A name as a part of a path. */
function part(name) {
  return encodeURIComponent(name);
}

function sessionsOf(tenant) {
  return `sessions/${part(tenant)}`;
}

/** The address of a session's stream. */
export function followAddress(tenant, session) {
  return address(`${sessionsOf(tenant)}/${part(session)}/follow`);
}

function link(place) {
  const set = Object.entries(place).filter(([, value]) => value);
  return `?${new URLSearchParams([['view', 'sessions'], ...set])}`;
}
