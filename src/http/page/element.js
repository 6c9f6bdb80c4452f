/** The element of the page with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** A new element: `element('span', { class: 'mark' }, 'late')`. Children are nodes or text, never markup. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const COUNT = new Intl.NumberFormat('en');

/** A count as people read it: 1,234. */
export function count(number) {
  return COUNT.format(Number(number));
}

/** The first digits of a 64-digit id: enough for people to tell nodes apart. */
export function shortId(id) {
  return String(id).slice(0, 8);
}
