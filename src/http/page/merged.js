// The log section: feeds the log that the page holds, and draws it when the reader is ready for it.

import { mergedPage } from './api.js';
import { Detail } from './detail.js';
import { byId, count } from './element.js';
import { Feed } from './feed.js';
import { Filters } from './filters.js';
import { Follow } from './follow.js';
import { visible } from './foreign.js';
import { Lanes } from './lanes.js';
import { Log, MOST } from './log.js';

const OLDER_PAGE = 1_000;
const OLDER_PAGES = 50; // pages that may bring nothing new, when very many entries share a millisecond

export class MergedLog {
  #authors;
  #log = new Log();
  #detail;
  #lanes;
  #filters;
  #follow;
  #feed = null;
  #connection = 'connecting';
  #isAway = false; // scrolled away from the newest entry
  #isAfresh = true; // the next page replaces the log instead of joining it

  constructor(authors) {
    this.#authors = authors;
    this.#detail = new Detail(authors);
    this.#lanes = new Lanes(authors, {
      find: (id) => this.#log.get(id),
      open: (entry) => this.#detail.open(entry),
      nearEnd: () => this.#loadOlder(),
    });
    this.#filters = new Filters(() => this.open());
    this.#follow = new Follow(() => this.#isReading(), {
      show: (entries) => this.#showArrivals(entries),
      reload: () => this.#startAfresh(),
      changed: () => this.#showFollowing(),
    });
    this.#listen();
  }

  /** Opens the log with the filters as they are now. */
  open() {
    this.#feed?.close();
    this.#follow.clear();
    this.#isAfresh = true;
    this.#feed = new Feed(this.#filters.current(), {
      newest: (page) => this.#takeNewest(page),
      arrived: (entry) => this.#follow.arrived(entry),
      reset: () => { this.#isAfresh = true; },
      connection: (state) => this.#showConnection(state),
      failed: (error) => this.#showProblem(error),
    });
  }

  /** Shows the log, and in it the entry, that the page's address names. */
  show() {
    this.#filters.readAddress();
    this.open();
    this.#detail.openNamed();
  }

  /** Stops following: another view is shown. */
  close() {
    this.#feed?.close();
    this.#feed = null;
  }

  /** Authors or names may be new. */
  relabel() {
    this.#lanes.relabel();
    this.#filters.offer(this.#authors);
  }

  #listen() {
    byId('pause').addEventListener('click', () => this.#pauseOrResume());
    byId('waiting').addEventListener('click', () => this.#showNewest());
    byId('older').addEventListener('click', () => this.#loadOlder());
    this.#detail.onClose(() => this.#follow.settle());
    byId('entries-list').addEventListener('focusout', () => setTimeout(() => this.#follow.settle()));
    new IntersectionObserver(([top]) => {
      // Above what is visible means scrolled away; below it, the reader is still looking at the nodes.
      const edge = Math.max(0, byId('scroller').getBoundingClientRect().top);
      this.#isAway = !top.isIntersecting && top.boundingClientRect.bottom <= edge + 1;
      this.#follow.settle();
    }).observe(byId('top'));
  }

  #isReading() {
    return this.#isAway || this.#log.newerLetGo || this.#detail.isOpen() || this.#lanes.hasKeyboard();
  }

  #takeNewest(page) {
    if (!this.#isAfresh && this.#follow.isHeld()) {
      this.#follow.missed(); // a reconnection must not move the log under the reader
      return;
    }
    if (this.#isAfresh) this.#log.start(page);
    else this.#log.rejoin(page);
    this.#isAfresh = false;
    this.#draw(page.entries);
    this.#follow.loaded();
  }

  #showArrivals(entries) {
    this.#log.add(entries);
    this.#draw(entries, new Set(entries.map((entry) => entry.id)));
  }

  // `fresh` are those that were not drawn before: only they can bring authors, topics and kinds that are new.
  #draw(fresh, arrived) {
    for (const { author } of fresh) this.#authors.see(author);
    this.#lanes.draw(this.#log.entries, arrived);
    this.#filters.suggest(fresh);
    this.#filters.offer(this.#authors);
    this.#showEnd();
  }

  #startAfresh() {
    this.#isAfresh = true;
    this.#follow.clear();
    this.#feed.reload();
  }

  #pauseOrResume() {
    if (this.#follow.isPaused()) this.#showNewest();
    else this.#follow.pause();
  }

  // Back to the live end, from wherever the reader is.
  #showNewest() {
    this.#isAway = false;
    byId('scroller').scrollTop = 0; // wide screens scroll the log, narrow ones the page
    byId('top').scrollIntoView({ block: 'nearest' });
    if (document.activeElement === byId('waiting')) byId('log').focus({ preventScroll: true }); // it is about to hide
    if (this.#log.newerLetGo) this.#startAfresh();
    this.#follow.resume();
  }

  async #loadOlder() {
    const button = byId('older');
    const feed = this.#feed;
    if (button.disabled || feed === null || this.#isAfresh) return;
    button.disabled = true;
    try {
      for (let pages = 0; pages < OLDER_PAGES && this.#log.older; pages += 1) {
        const page = await mergedPage(this.#filters.current(), { limit: OLDER_PAGE, ...this.#log.older });
        if (feed !== this.#feed) return; // the filters changed meanwhile
        const added = this.#log.addOlder(page);
        this.#draw(page.entries);
        if (added > 0) break;
      }
      this.#follow.settle();
    } catch (error) {
      this.#showProblem(error);
    } finally {
      button.disabled = false;
    }
  }

  #showConnection(state) {
    this.#connection = state;
    this.#showFollowing();
  }

  #showFollowing() {
    const { waiting } = this.#follow;
    const isPaused = this.#follow.isPaused();
    say('follow-state', this.#followingWords());
    byId('follow-state').dataset.state = this.#follow.isHeld() ? 'held' : this.#connection;
    byId('pause').textContent = isPaused ? 'Resume' : 'Pause';
    byId('pause').setAttribute('aria-pressed', String(isPaused));
    const isOffered = this.#follow.isHeld() && (waiting > 0 || this.#log.newerLetGo);
    byId('waiting').hidden = !isOffered;
    byId('waiting').textContent = waiting > 0 ? `↑ ${count(waiting)} new` : '↑ Back to the newest';
  }

  #followingWords() {
    if (this.#connection !== 'live') return 'connecting';
    if (this.#follow.isPaused()) return 'paused';
    return this.#follow.isHeld() ? 'waiting while you read' : 'live';
  }

  #showProblem(error) {
    const problem = byId('problem');
    problem.hidden = error === null;
    if (error) say('problem', `The log cannot be read: ${visible(error.message)}`);
  }

  #showEnd() {
    const { entries, older, olderLetGo, below } = this.#log;
    const words = [];
    if (entries.length === 0) words.push('No entries.');
    else if (!older) words.push('Nothing older.');
    if (olderLetGo > 0) words.push(`The page keeps ${count(MOST)} entries; ${count(olderLetGo)} older were let go.`);
    if (below > 0) words.push(`Arrived further back: ${count(below)}.`);
    byId('end-text').textContent = words.join(' ');
    byId('older').hidden = older === null;
    byId('held').textContent = entries.length > 0 ? `${count(entries.length)} shown · ` : '';
  }
}

// Screen readers announce these on change: leave them alone while they are the same.
function say(id, words) {
  if (byId(id).textContent !== words) byId(id).textContent = words;
}
