// The page when there is much: a hundred thousand entries, and sixteen nodes.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { assertAccessible, live, picture, startBrowser } from './browser.mjs';
import { post, startCluster } from './cluster.mjs';

const MANY = 100_000;
const GROUP = 5_000;
const ROWS_MOST = 150;
const FRAME_MOST_MS = 250; // drawn by the processor, beside a cluster in a debug build

let browser;
before(async () => { browser = await startBrowser(); });
after(() => browser?.stop());

test('a hundred thousand entries scroll smoothly', { timeout: 300_000 }, async (t) => {
  const { urls: [url], stop } = await startCluster('--nodes', '2');
  t.after(stop);
  for (let from = 0; from < MANY + GROUP; from += GROUP) {
    const lines = Array.from({ length: GROUP }, (_, at) => JSON.stringify({ topic: `story/${at % 40}`, kind: 'page.many', data: { n: from + at } }));
    await post(url, 'entries', lines.join('\n'));
  }
  const { page, close } = await browser.open(`${url}/?kind=page.many`);
  await live(page);

  // To the end, again and again, until the page holds as many as it may.
  await page.locator('#entries-list [tabindex="0"]').focus();
  const held = () => page.evaluate(() => Number(document.querySelector('#entries-list li').getAttribute('aria-setsize')));
  const began = Date.now();
  for (let before = 0; before < MANY; before = await held()) {
    await page.keyboard.press('End');
    await page.waitForFunction((before) => Number(document.querySelector('#entries-list li').getAttribute('aria-setsize')) > before, before);
  }
  const took = Date.now() - began;
  assert.equal(await held(), MANY);

  const { longest, frames, rows } = await page.evaluate(async () => {
    const scroller = document.querySelector('#scroller');
    const far = scroller.scrollHeight;
    const spent = [];
    let rows = 0;
    let last = performance.now();
    for (let step = 0; step < 120; step += 1) {
      scroller.scrollTop = step < 60 ? step * 400 : (far * (step - 60)) / 60; // by the wheel, then by the bar
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      spent.push(now - last);
      last = now;
      rows = Math.max(rows, document.querySelectorAll('#entries-list li').length);
    }
    return { longest: Math.max(...spent), frames: spent.length, rows };
  });
  t.diagnostic(`${MANY} entries loaded in ${took} ms; ${frames} frames, the longest took ${longest.toFixed(0)} ms; at most ${rows} rows in the document`);
  assert.ok(rows < ROWS_MOST, `${rows} rows`);
  assert.ok(longest < FRAME_MOST_MS, `${longest} ms`);

  await page.keyboard.press('Home');
  await page.evaluate(() => { document.activeElement.blur(); document.querySelector('#scroller').scrollTop = 0; });
  await post(url, 'entries', { topic: 'story/1', kind: 'page.many', data: { n: 'the newest' } });
  await page.locator('#waiting:not([hidden]), #entries-list li:has-text("the newest")').first().waitFor();
  await close();
});

test('sixteen nodes fit: a matrix of 256 cells, and a rail for each author', { timeout: 120_000 }, async (t) => {
  const { urls, stop } = await startCluster('--nodes', '16');
  t.after(stop);
  const { page, close } = await browser.open(urls[0]);
  await live(page);
  await page.waitForFunction(() => document.querySelectorAll('#nodes .holds').length === 256);
  assert.equal(await page.locator('#scroller').getAttribute('data-lanes'), 'rails');
  const reach = await page.locator('#nodes-scroller').evaluate((it) => it.scrollWidth - it.clientWidth);
  assert.ok(reach <= 400, `the matrix is ${reach} px wider than its room`);
  await assertAccessible(page, 'sixteen nodes');
  await picture(page, 'sixteen-light-wide');
  await close();
});
