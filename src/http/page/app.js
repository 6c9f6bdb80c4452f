// towline's web page: this node's status, the nodes and what they hold, and the merged log, live.
//
//   v1/status ──► status.js                  asked again every two seconds
//   v1/nodes  ──► nodes.js ──► authors.js    names, colours and lanes, the same everywhere
//   v1/stream, v1/entries ──► feed.js ──► merged.js ──► lanes.js ──► detail.js
//                                          follow.js   shown now, or waiting while the reader reads
//                                          log.js      what the page holds: bounded, ordered, without holes
//                                          window.js   of it, the rows that are in sight
//   v1/entries/…/proof ──► proof.js          verified here, not believed
//   v1/sessions, v1/transcripts ──► sessions.js ──► transcript.js

import { ask } from './api.js';
import { Authors } from './authors.js';
import { MergedLog } from './merged.js';
import { showNodes } from './nodes.js';
import { Sessions } from './sessions.js';
import { showNoAnswer, showStatus } from './status.js';
import { Views } from './views.js';

const ASK_EVERY_MS = 2_000;

const authors = new Authors();
const merged = new MergedLog(authors);
const sessions = new Sessions(authors, (href) => views.go(href));
const views = new Views({
  log: { section: 'log', open: () => merged.show(), close: () => merged.close() },
  sessions: { section: 'sessions', open: () => sessions.open(), close: () => sessions.close() },
});

async function refreshStatus() {
  try {
    showStatus(await ask('status'));
  } catch (error) {
    showNoAnswer(error);
  }
}

async function refreshNodes() {
  try {
    showNodes((await ask('nodes')).nodes, authors);
    merged.relabel();
  } catch {
    // The header says that the node does not answer; the table stays as last known.
  }
}

async function keepAsking() {
  await Promise.all([refreshStatus(), refreshNodes()]);
  setTimeout(keepAsking, ASK_EVERY_MS);
}

await keepAsking(); // names come first, so that nodes and lanes stand in the same order
views.show();
