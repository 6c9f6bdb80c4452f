// The nodes, and who has what of whom: a row a node, a column an author, from v1/nodes.

import { byId, count, element } from './element.js';
import { dayAndTime } from './entry.js';
import { foreign } from './foreign.js';

const SKEW_TOO_FAR_S = 60;
const LAG_LITTLE = 10; // entries on their way: not worth a colour that calls
const UNKNOWN = 'never reached: what it holds is not known';

/** Shows the nodes; `authors` learns their names. */
export function showNodes(nodes, authors) {
  for (const node of nodes) {
    authors.name(node.node, node.name ?? '');
    for (const author of Object.keys(node.holds ?? {})) authors.see(author);
  }
  const columns = authors.all();
  const best = bestKnown(nodes);
  // Roles are spelt out because narrow screens lay rows out as cards, and `display` would take a table's meaning away.
  byId('nodes').replaceChildren(
    element('thead', { role: 'rowgroup' }, headRow(columns, authors)),
    element('tbody', { role: 'rowgroup' }, ...nodes.map((node) => nodeRow(node, columns, best, authors))),
  );
  byId('nodes-summary').textContent = summary(nodes);
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
  made.append(count(held));
  if (held < best) made.append(' ', element('span', { class: 'behind' }, `−${count(best - held)}`));
  return made;
}

function lagLevel(lag, best) {
  if (lag <= 0) return 0;
  if (lag <= LAG_LITTLE || lag <= best * 0.01) return 1;
  return lag <= best * 0.25 ? 2 : 3;
}
