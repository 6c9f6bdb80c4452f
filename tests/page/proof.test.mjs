// Proofs, verified by the browser: what holds, and what doesn't when the node lies.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { picture, startBrowser } from './browser.mjs';
import { get, post, startCluster } from './cluster.mjs';

let cluster, browser, url;

before(async () => {
  [cluster, browser] = await Promise.all([startCluster('--nodes', '3', '--chaos'), startBrowser()]);
  [url] = cluster.urls;
});
after(() => Promise.all([cluster?.stop(), browser?.stop()]));

const CRAFTED = {
  topic: 'proof/Ünïcode', kind: 'proof.crafted', attributes: { subject: 'x', a: 'ü' },
  data: { text: 'naïve "quotes" \u202e', number: 1.5, list: [1, null, { deep: true }] },
};

/** Opens the detail of an entry, and gives what it says of the proof once it is checked. */
async function checked(id, { prepare, allowed } = {}) {
  const { page, close } = await browser.open(`${url}/?kind=proof.none#e=${id}`, { prepare });
  const said = page.locator('#proof-said');
  await page.waitForFunction(() => !['none', 'checking'].includes(document.querySelector('#proof-said').dataset.state ?? 'none'));
  const verdict = { state: await said.getAttribute('data-state'), words: await said.textContent() };
  verdict.steps = await page.locator('#proof-steps li').allTextContents();
  return { verdict, page, close: () => close(allowed) };
}

/** Lets the node lie: answers of a route pass through `lie`. */
function lying(route, lie) {
  return (page) => page.route(route, async (asked) => {
    const response = await asked.fetch();
    const json = await response.json();
    await asked.fulfill({ response, json: lie(json) ?? json });
  });
}

test('the proof of every kind of entry holds, whoever wrote it', async () => {
  const [{ id: crafted }] = await post(url, 'entries', CRAFTED);
  const { entries: merged } = await get(url, 'entries?order=time&limit=1000');
  const { gaps: [gap] } = await get(url, 'gaps');
  const oneOfEach = [...new Map(merged.map((entry) => [`${entry.author} ${entry.kind}`, entry])).values()];
  assert.ok(new Set(oneOfEach.map(({ author }) => author)).size === 3);
  for (const id of [crafted, gap.id, merged[0].id, merged.at(-1).id, ...oneOfEach.map((entry) => entry.id)]) {
    const { verdict, page, close } = await checked(id);
    assert.equal(verdict.state, 'holds', `${id}: ${verdict.words}`);
    assert.equal(verdict.steps.length, 4);
    if (id === crafted) await picture(page, 'proof-light-wide');
    await close();
  }
});

test('text, bytes and what is no JSON are proven as they were written', async () => {
  const drafts = [
    { topic: 't', kind: 'proof.text', content_type: 'text/plain', data: 'just\ntext' },
    { topic: 't', kind: 'proof.bytes', content_type: 'application/octet-stream', data_base64: Buffer.from([0, 255, 1]).toString('base64') },
    { topic: 't', kind: 'proof.number', data: 12 },
    { topic: 't', kind: 'proof.long', data: 'x'.repeat(100_000), tenant: 'acme' },
  ];
  for (const { id } of await post(url, 'entries', drafts)) {
    const { verdict, close } = await checked(id);
    assert.equal(verdict.state, 'holds', verdict.words);
    await close();
  }
});

test('a chain of changes that a later one vouches for holds, and none that was altered', { timeout: 120_000 }, async () => {
  const events = Array.from({ length: 10 }, (_, at) => ({ topic: 'proof/chain', kind: 'proof.chain', data: { at } }));
  let first;
  for (let commits = 0; commits < 120; commits += 1) {
    const receipts = await post(url, 'entries', events);
    first ??= receipts[3].id;
  }
  // Once they are packed, the signatures within are gone.
  let links = 1;
  while (links === 1) ({ changes: { length: links } } = await get(url, `entries/${first.replace(':', '/')}/proof`));

  const { verdict, close } = await checked(first);
  assert.equal(verdict.state, 'holds', verdict.words);
  assert.match(verdict.steps[1], new RegExp(`and ${links - 1} after it, are a chain`));
  await close();
  const lies = [
    [(proof) => { proof.changes[1] = forged(proof.changes[1]); }, /chain of changes is broken/],
    [(proof) => { proof.changes.splice(1, 1); }, /chain of changes is broken/],
    [(proof) => { proof.changes.pop(); }, /signature/],
    [(proof) => { proof.changes.push(proof.changes[0]); }, /chain of changes is broken/],
  ];
  for (const [lie, because] of lies) {
    const { verdict, close } = await checked(first, { prepare: lying('**/proof', lie) });
    assert.equal(verdict.state, 'fails', String(lie));
    assert.match(verdict.words, because);
    await close();
  }
});

const LIES = {
  'the data is another': ['**/v1/entries/*/*', (entry) => { entry.data.number = 2; }, /other data/],
  'the topic is another': ['**/v1/entries/*/*', (entry) => { entry.topic = 'proof/other'; }, /another topic/],
  'the time is another': ['**/v1/entries/*/*', (entry) => { entry.hlc = '1'; }, /another time/],
  'an attribute is another': ['**/v1/entries/*/*', (entry) => { entry.attributes.subject = 'y'; }, /other attributes/],
  'a change was altered': ['**/proof', (proof) => { proof.changes[0] = flipped(proof.changes[0], -3); }, /checksum/],
  'a change was altered with its checksum': ['**/proof', (proof) => { proof.changes[0] = forged(proof.changes[0]); }, /another change|chain|signature/],
  'the signature is another': ['**/proof', (proof) => { proof.signature = 'ab'.repeat(64); }, /signature/],
  'the cluster is another': ['**/proof', (proof) => { proof.opening = proof.opening.replace(/"cluster":"../, '"cluster":"00'); }, /segment/],
  'it is the proof of another entry': ['**/proof', (proof) => { proof.at += 1; }, /another seq|does not hold the entry/],
  'a change is missing': ['**/proof', (proof) => { proof.changes.shift(); }, /no change|another change/],
  'it is no proof': ['**/proof', () => ({ changes: ['AAAA'], opening: '{}', signature: '' }), /chunk|soon/],
};

for (const [what, [route, lie, because]] of Object.entries(LIES)) {
  test(`no proof holds when the node lies: ${what}`, async () => {
    const [{ id }] = await post(url, 'entries', CRAFTED);
    const { verdict, close } = await checked(id, { prepare: lying(route, lie) });
    assert.equal(verdict.state, 'fails', JSON.stringify(verdict));
    assert.match(verdict.words, because);
    await close();
  });
}

test('where there is no proof the page says so, and no more', async () => {
  const [{ id }] = await post(url, 'entries', CRAFTED);
  const { verdict, close } = await checked(id, {
    prepare: (page) => page.route('**/proof', (asked) => asked.fulfill({ status: 404, json: { title: 'it is not here' } })),
    allowed: [/Failed to load resource/],
  });
  assert.equal(verdict.state, 'unknown');
  await close();
});

function flipped(base64, at) {
  const bytes = Buffer.from(base64, 'base64');
  bytes[bytes.length + at] ^= 1;
  return bytes.toString('base64');
}

/** The change with one byte of its entry altered, and a checksum that fits. */
function forged(base64) {
  const bytes = Buffer.from(flipped(base64, -3), 'base64');
  createHash('sha256').update(bytes.subarray(8)).digest().copy(bytes, 4, 0, 4);
  return bytes.toString('base64');
}
