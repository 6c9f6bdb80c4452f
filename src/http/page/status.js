// The header: who this node is and how it fares, from v1/status.

import { byId, count, element, shortId } from './element.js';
import { foreign, visible } from './foreign.js';

const MEANS = {
  ok: '',
  degraded: 'entries are kept, but not every peer is reached',
  'read-only': 'the disk is full: entries are read and sent on until there is room',
  poisoned: 'a commit failed: nothing more is written until a restart',
};

/** Shows a status. */
export function showStatus(status) {
  showState(status.state, MEANS[status.state] ?? '');
  byId('node-name').replaceChildren(status.name ? foreign(status.name, 60) : shortId(status.node));
  showId('node-id', status.node);
  showId('cluster-id', status.cluster);
  showId('frontier', status.frontier);
  byId('entries').textContent = count(status.entries);
  byId('author-count').textContent = count(status.authors);
  byId('peers').textContent = `${count(status.peers.connected)} of ${count(status.peers.configured)}`;
  byId('peers').title = 'connected of configured';
  byId('gaps').textContent = count(status.gaps);
  byId('sum').replaceChildren(...sum(status));
  byId('product').title = `towline ${status.version}, started ${status.started}`;
  const state = status.state === 'ok' ? '' : ` (${status.state})`;
  document.title = `${visible(status.name || shortId(status.node))}${state} – towline`;
}

/** Says that the node does not answer; the numbers stay as they were last known. */
export function showNoAnswer(error) {
  showState('no answer', `numbers are the last known; asking again: ${visible(error.message)}`);
  document.title = 'no answer – towline';
}

function showState(state, means) {
  const badge = byId('state');
  // Screen readers announce this on change: leave it alone while it is the same.
  if (badge.textContent !== state) badge.textContent = state;
  badge.dataset.state = state;
  if (byId('state-means').textContent !== means) byId('state-means').textContent = means;
}

function showId(id, value) {
  byId(id).textContent = shortId(value);
  byId(id).title = value;
}

// At rest emitted = recorded + dropped. What is missing is on its way to the recorder.
function sum({ emitted, recorded, dropped }) {
  const underway = Number(emitted) - Number(recorded) - Number(dropped);
  const lost = element('span', Number(dropped) > 0 ? { class: 'lost' } : {}, count(dropped));
  const words = [`${count(emitted)} = ${count(recorded)} + `, lost];
  if (underway !== 0) words.push(element('span', { class: 'underway' }, ` + ${count(underway)} on the way`));
  return words;
}
