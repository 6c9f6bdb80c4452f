// The nodes, and who has what of whom: a row a node, a column an author, from v1/nodes.

import { byId, count, element } from './element.js';
import { dayAndTime } from './entry.js';
import { foreign } from './foreign.js';

const SKEW_TOO_FAR_S = 60;
const LAG_LITTLE = 10; // entries on their way: not worth a colour that calls
const LAG_SOME = 100;
const ROOMY = 8; // with more authors than this the columns are narrow, and numbers short
const UNKNOWN = 'never reached: what it holds is not known';

/** Shows the nodes; `authors` learns their names. */
export function showNodes(nodes, authors) {
  for (const node of nodes) {
    authors.name(node.node, node.name ?? '');
    for (const author of Object.keys(node.holds ?? {})) authors.see(author);
  }
  const columns = authors.all();
  const best = bestKnown(nodes);
  const table = byId('nodes');
  table.classList.toggle('dense', columns.length > ROOMY);
  // Roles are spelt out because narrow screens lay rows out as cards, and `display` would take a table's meaning away.
  replaceChanged(table, [
    element('thead', { role: 'rowgroup' }, headRow(columns, authors)),
    element('tbody', { role: 'rowgroup' }, ...nodes.map((node) => nodeRow(node, columns, best, authors))),
  ]);
  byId('nodes-summary').textContent = summary(nodes);
  closeFirst(nodes);
}

// On a narrow screen the log would begin below all nodes. While all is well the summary says enough.
let closesFirst = matchMedia('(max-width: 899px)').matches;

function closeFirst(nodes) {
  if (!closesFirst) return;
  closesFirst = false;
  byId('nodes-section').open = nodes.some(({ state }) => state !== 'self' && state !== 'connected');
}

// What is the same stays: a selection in it, and a screen reader's place.
function replaceChanged(parent, children) {
  if (parent.children.length !== children.length) {
    parent.replaceChildren(...children);
    return;
  }
  for (const [at, fresh] of children.entries()) {
    const old = parent.children[at];
    if (old.isEqualNode(fresh)) continue;
    if (fresh.tagName === 'TBODY') replaceChanged(old, [...fresh.children]);
    else old.replaceWith(fresh);
  }
}

function summary(nodes) {
  const of = (state) => nodes.filter((node) => node.state === state).length;
  const words = [`${nodes.length} known`, `${of('connected')} connected`];
  if (of('connecting') > 0) words.push(`${of('connecting')} connecting`);
  if (of('unreachable') > 0) words.push(`${of('unreachable')} unreachable`);
  return words.join(' · ');
}

// The most entries of each author that any node is known to hold.
function bestKnown(nodes) {
  const best = new Map();
  const raise = (author, held) => best.set(author, Math.max(best.get(author) ?? 0, held));
  for (const node of nodes) {
    raise(node.node, node.authored ?? 0);
    for (const [author, held] of Object.entries(node.holds ?? {})) raise(author, held);
  }
  return best;
}

function headRow(columns, authors) {
  const head = (words, attributes) => element('th', { scope: 'col', role: 'columnheader', ...attributes }, words);
  return element('tr', { role: 'row' },
    head('node'), head('state'),
    head('lag', { class: 'number', title: 'entries that the node is behind' }),
    head('skew', { class: 'number', title: 'its clock against this node’s' }),
    ...columns.map(({ id }) => head(authors.label(id), { class: 'number' })),
    head('address'));
}

function nodeRow(node, columns, best, authors) {
  const row = element('tr', { role: 'row' },
    element('th', { scope: 'row', role: 'rowheader' }, authors.label(node.node, { withId: true })),
    cell('state', '', stateWords(node)),
    cell('number lag', 'lag', lagWords(node)),
    cell('number skew', 'skew', skewWords(node)));
  for (const { id } of columns) row.append(holdsCell(node, id, best.get(id) ?? 0, authors));
  row.append(cell('address', 'address', element('code', {}, foreign(node.address ?? '–', 80))));
  return row;
}

function cell(kind, label, words) {
  return element('td', { role: 'cell', class: kind, 'data-label': label }, words);
}

function stateWords({ state, last_seen: seen }) {
  const words = element('span', {}, element('span', { class: 'badge', 'data-state': state }, state));
  if (seen && (state === 'unreachable' || state === 'connecting')) {
    const { day, time } = dayAndTime(seen);
    words.append(' ', element('time', { class: 'seen', datetime: seen, title: `${day} ${time} UTC` }, `last seen ${time.slice(0, 8)}`));
  }
  return words;
}

function lagWords({ lag, holds }) {
  if (!holds) return element('span', { class: 'quiet', title: UNKNOWN }, '?');
  return element('span', { class: lag > LAG_LITTLE ? 'warn' : 'quiet' }, count(lag));
}

function skewWords({ skew_seconds: skew }) {
  if (!skew) return element('span', { class: 'quiet' }, '–');
  const far = Math.abs(skew) > SKEW_TOO_FAR_S;
  return element('span', { class: far ? 'warn' : 'quiet' }, `${skew > 0 ? '+' : '−'}${count(Math.abs(skew))} s`);
}

function holdsCell(node, author, best, authors) {
  const made = cell('number holds', '', '');
  made.append(element('span', { class: 'whose' }, authors.label(author)));
  made.classList.toggle('own', node.node === author);
  if (!node.holds) {
    made.dataset.lag = 'unknown';
    made.append(element('span', { title: UNKNOWN }, '?'));
    return made;
  }
  const held = node.holds[author] ?? 0;
  made.dataset.lag = lagLevel(best - held, best);
  made.title = `${count(held)} of ${count(best)}`;
  made.append(element('span', { class: 'held' }, count(held)));
  if (held < best) made.append(' ', element('span', { class: 'behind' }, `−${count(best - held)}`));
  else made.append(element('span', { class: 'all', 'aria-hidden': 'true' }, '✓'));
  return made;
}

function lagLevel(lag, best) {
  if (lag <= 0) return 0;
  if (lag <= LAG_LITTLE || lag <= best * 0.01) return 1;
  return lag <= LAG_SOME || lag <= best * 0.25 ? 2 : 3;
}
