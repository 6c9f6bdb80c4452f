// Foreign text: what authors chose (payloads, topics, names). It is hostile until shown to be harmless.
// Invariant: it reaches the page as text nodes only, isolated from its surroundings, nothing in it invisible.

// Controls, format and bidi characters, line separators, lone surrogates, and letters that draw nothing.
// The two joiners (200c, 200d) stay: Persian and emoji are written with them.
const UNSEEN = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u115f\u1160\u2800\u3164\uffa0]/gu;
const SHORT = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function escape(char) {
  const code = char.codePointAt(0);
  const hex = code.toString(16);
  return SHORT[char] ?? (code > 0xffff ? `\\u{${hex}}` : `\\u${hex.padStart(4, '0')}`);
}

/** The text with everything unseen written as an escape. */
export function visible(text) {
  return String(text).replace(UNSEEN, escape);
}

/** As `visible`, line by line: for JSON that we indented ourselves. */
export function visibleLines(text) {
  return text.split('\n').map(visible).join('\n');
}

/** An isolated element that shows at most `limit` characters, its escapes set apart from the author's own backslashes. */
export function foreign(text, limit = 240) {
  const bdi = document.createElement('bdi');
  const cut = text.length > limit;
  const shown = cut ? text.slice(0, limit).replace(/[\ud800-\udbff]$/, '') : text;
  let from = 0;
  for (const found of shown.matchAll(UNSEEN)) {
    bdi.append(shown.slice(from, found.index), escapeMark(found[0]));
    from = found.index + found[0].length;
  }
  bdi.append(shown.slice(from) + (cut ? '…' : ''));
  return bdi;
}

function escapeMark(char) {
  const mark = document.createElement('span');
  mark.className = 'escape';
  mark.textContent = escape(char);
  return mark;
}
