// A row of the log: what an entry says in two lines.

import { element } from './element.js';
import { FIELDS_SHOWN, GAP, dayAndTime, gapText, isFields, marks, plain } from './entry.js';
import { foreign } from './foreign.js';

/** The row of an entry: a list item with one button. */
export function entryRow(entry, authors) {
  const { day, time } = dayAndTime(entry.time);
  const { lane } = authors.see(entry.author);
  const isGap = entry.kind === GAP;
  const card = element('span', { class: 'card' }, ...(isGap ? gapWords(entry) : entryWords(entry)));
  const button = element('button', { type: 'button', tabindex: '-1' },
    element('time', { datetime: entry.time, 'data-day': day },
      time.slice(0, 8), element('span', { class: 'millis' }, time.slice(8))),
    element('i', { class: 'rail', 'aria-hidden': 'true' }),
    authors.label(entry.author), card);
  button.style.setProperty('--lane', lane + 1);
  const row = element('li', { 'data-day': day }, button);
  authors.paint(row, entry.author);
  row.classList.toggle('gap', isGap);
  row.classList.toggle('is-late', Boolean(entry.late));
  return row;
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

/** The marks of an entry as they stand beside its kind. */
export function markWords(entry) {
  return marks(entry).flatMap(([mark, means]) => [' ', element('span', { class: `mark ${mark}`, title: means }, mark)]);
}

// An object reads as `from backlog  to coding`: its keys set apart by colour, so that no value can pose as a key.
function dataWords({ data, data_base64: base64 }) {
  if (base64 !== undefined) return [element('span', { class: 'name' }, 'bytes '), foreign(base64, 60)];
  if (data === undefined || data === null || data === '') return [];
  if (!isFields(data)) return [foreign(plain(data))];
  return Object.entries(data).slice(0, FIELDS_SHOWN).flatMap(([name, value], at) => [
    at > 0 ? '  ' : '',
    element('span', { class: 'name' }, foreign(name, 40)), ' ', foreign(plain(value), 120),
  ]);
}
