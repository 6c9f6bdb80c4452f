// What an entry says, without a page: reading, order, words.

export const GAP = 'towline.gap';

/** JSON whose numbers print as they were written: a payload may hold integers above 2^53. */
export function parse(text) {
  if (!JSON.rawJSON) return JSON.parse(text);
  return JSON.parse(text, (_key, value, context) =>
    typeof value === 'number' && context?.source !== undefined && context.source !== String(value)
      ? JSON.rawJSON(context.source)
      : value);
}

/** Sorts newest first by (time, author, seq). Branches of a fork share all three; their ids differ. */
export function newestFirst(a, b) {
  return compareClock(b, a) || compareText(b.author, a.author) || Number(b.seq) - Number(a.seq) || compareText(b.id, a.id);
}

// `hlc` is 64 bits in a string: a longer decimal is a larger one.
function compareClock(a, b) {
  if (!a.hlc || !b.hlc) return Date.parse(a.time) - Date.parse(b.time);
  return a.hlc.length - b.hlc.length || compareText(a.hlc, b.hlc);
}

function compareText(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The day and time of day of a UTC time, by its text: a skewed clock may be past the years that Date can read. */
export function dayAndTime(rfc3339) {
  const [day, time = ''] = rfc3339.split('T');
  return { day, time: time.slice(0, 12).replace('Z', '') };
}

/** What a gap says, in the words that every towline reader prints. */
export function gapText({ from, to, count, reason, exact }) {
  const range = `${plain(from)}..=${plain(to)}`;
  return exact === false
    ? `up to ${plain(count)} of the events ${range} were dropped (${plain(reason)})`
    : `events ${range} were dropped (${plain(reason)})`;
}

/** A value as text: text as it is, all else as compact JSON. */
export function plain(value) {
  return typeof value === 'string' ? value : JSON.stringify(value) ?? '';
}

const MARKS = {
  late: 'arrived after entries that it sorts before',
  skew: 'its time is far ahead of this node’s clock',
  forked: 'its author wrote two branches of history',
};

/** The marks that an entry carries, each with its meaning. */
export function marks(entry) {
  return Object.entries(MARKS).filter(([mark]) => entry[mark]);
}

const KEPT_CHARACTERS = 1_024;
const KEPT_VALUE = 121; // one more than a row shows of a value, so that the row says that it goes on
export const FIELDS_SHOWN = 8;

/** The entry, or what its row shows of it when it is long: a page that holds very many must not hold their payloads. */
export function abridged(entry) {
  if (JSON.stringify(entry).length <= KEPT_CHARACTERS) return entry;
  const { attributes, data, data_base64: base64, ...rest } = entry;
  const short = { ...rest, abridged: true };
  if (base64 !== undefined) return { ...short, data_base64: base64.slice(0, KEPT_VALUE) };
  if (!isFields(data)) return { ...short, data: plain(data).slice(0, 2 * KEPT_VALUE) };
  const fields = Object.entries(data).slice(0, FIELDS_SHOWN);
  return { ...short, data: Object.fromEntries(fields.map(([name, value]) => [name.slice(0, KEPT_VALUE), plain(value).slice(0, KEPT_VALUE)])) };
}

/** True of a JSON object, which reads as names and values. */
export function isFields(data) {
  return typeof data === 'object' && data !== null && !Array.isArray(data) && !JSON.isRawJSON?.(data);
}
