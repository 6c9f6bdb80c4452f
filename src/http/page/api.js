// Questions to the node that served this page. Addresses are relative, so that a proxy may put it under a path.

import { parse } from './entry.js';

const PATIENCE_MS = 10_000;
const PAGE = 200; // at first; older pages may be longer

/** The answer to `GET v1/…`. Throws an Error whose message can be shown: a problem document's, or what failed. */
export async function ask(path, parameters = {}) {
  const response = await fetch(address(path, parameters), {
    headers: { accept: 'application/json' },
    cache: 'no-store',
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(problem(response.status, text));
  return parse(text);
}

/** A page of the merged log, newest first. */
export function mergedPage(filter, place = {}) {
  return ask('entries', { order: 'time', reverse: 'true', limit: PAGE, ...filter, ...place });
}

/** The route of an entry. An id names the segment, too, where the author's branches share a seq. */
export function entryPath(id) {
  return `entries/${id.replace(':', '/')}`;
}

/** The address of a route with its query. */
export function address(path, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  return query ? `v1/${path}?${query}` : `v1/${path}`;
}

function problem(status, text) {
  try {
    const { title, detail } = JSON.parse(text);
    return [title, detail].filter(Boolean).join(': ') || `status ${status}`;
  } catch {
    return `the node answered with status ${status}`; // not a problem document: a proxy's page, say
  }
}
