// The authors seen so far: a name, a colour and a lane each, the same in the nodes' matrix and in the log.

import { element, shortId } from './element.js';
import { foreign } from './foreign.js';

const COLOURS = 8; // as many as style.css defines; a ninth author shares the first one's, with a hollow dot

export class Authors {
  #byId = new Map();
  /** Rises when an author or a name is new: whoever drew labels draws them again. */
  version = 0;

  /** The author with this id, given the next lane when new. */
  see(id) {
    let author = this.#byId.get(id);
    if (!author) {
      author = { id, name: '', lane: this.#byId.size };
      this.#byId.set(id, author);
      this.version += 1;
    }
    return author;
  }

  /** Learns a node's name. */
  name(id, name) {
    const author = this.see(id);
    if (author.name === name) return;
    author.name = name;
    this.version += 1;
  }

  all() {
    return [...this.#byId.values()];
  }

  /** The author's label. Names are chosen, not unique: `id` shows the short id beside the name. */
  label(id, { withId = false } = {}) {
    const { name } = this.see(id);
    const label = element('span', { class: 'author', title: id });
    this.paint(label, id);
    label.append(element('i', { class: 'dot', 'aria-hidden': 'true' }));
    label.append(name ? foreign(name, 40) : element('code', {}, shortId(id)));
    if (name && withId) label.append(element('code', { class: 'id' }, shortId(id)));
    return label;
  }

  /** Gives what is inside the element the author's colour, as `--author`. */
  paint(painted, id) {
    const { lane } = this.see(id);
    painted.style.setProperty('--author', `var(--l${lane % COLOURS})`);
    painted.classList.toggle('hollow', Math.floor(lane / COLOURS) % 2 === 1);
  }
}
