// The page's log and its nodes, as a person sees them in Chromium.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { NARROW, assertAccessible, live, picture, startBrowser } from './browser.mjs';
import { get, post, startCluster } from './cluster.mjs';

let cluster, browser, url;

before(async () => {
  [cluster, browser] = await Promise.all([startCluster('--nodes', '3', '--chaos'), startBrowser()]);
  [url] = cluster.urls;
});
after(() => Promise.all([cluster?.stop(), browser?.stop()]));

const rows = (page) => page.locator('#entries-list li');

test('the matrix says who has what of whom', async () => {
  const { page, close } = await browser.open(url);
  await page.locator('#nodes tbody tr').nth(2).waitFor();
  const { nodes } = await get(url, 'nodes');
  assert.equal(await page.locator('#nodes tbody tr').count(), nodes.length);
  const names = await page.locator('#nodes tbody th bdi').allTextContents();
  assert.deepEqual(names, nodes.map(({ name }) => name));
  assert.equal(await page.locator('#nodes .holds').count(), nodes.length ** 2);
  const titles = await page.locator('#nodes .holds').evaluateAll((cells) => cells.map((cell) => cell.title));
  assert.ok(titles.every((title) => /^[\d,]+ of [\d,]+$/.test(title)), String(titles));
  await close();
});

test('an entry is shown as soon as it is appended, on another node, too', async () => {
  const { page, close } = await browser.open(url);
  await live(page);
  await post(cluster.urls[1], 'entries', { topic: 'page/live', kind: 'page.said', data: { words: 'here I am' } });
  const row = rows(page).filter({ hasText: 'here I am' });
  await row.waitFor();
  assert.match(await row.textContent(), /bravo.*page\.said.*page\/live/);
  await close();
});

test('filters are in the address, and the address sets them', async () => {
  await post(url, 'entries', [1, 2, 3].map((n) => ({ topic: `page/${n}`, kind: 'page.filtered', data: { n } })));
  const { page, close } = await browser.open(url);
  await live(page);
  await page.getByLabel('kind').fill('page.filtered');
  await page.waitForURL(/\?kind=page\.filtered$/);
  await page.waitForFunction(() => document.querySelectorAll('#entries-list li').length === 3);
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll('#entries-list li').length === 3);
  assert.equal(await page.getByLabel('kind').inputValue(), 'page.filtered');
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.waitForFunction(() => location.search === '' && document.querySelectorAll('#entries-list li').length > 3);
  await close();
});

test('a gap is a band across all lanes, in the words of every reader', async () => {
  const { page, close } = await browser.open(`${url}/?kind=towline.gap`);
  const gap = rows(page).first();
  await gap.waitFor();
  assert.match(await gap.textContent(), /events \d+\.\.=\d+ were dropped \(lag\)/);
  assert.match(await gap.getAttribute('class'), /\bgap\b/);
  const band = await gap.locator('button').evaluate((button) => getComputedStyle(button).backgroundImage);
  assert.match(band, /repeating-linear-gradient/);
  await close();
});

test('what came late, skewed or forked is marked', async () => {
  // Marks come with entries; the stream is the node's own but for them.
  const author = (await get(url, 'status')).node;
  const entry = {
    id: `${author}:99999`, author, seq: 99999, time: '2026-01-01T00:00:00.000Z', hlc: '1', offset: 1, tenant: 'default',
    topic: 'page/marks', kind: 'page.marked', data: 1, change: '0'.repeat(64), segment: '0'.repeat(32),
    late: true, skew: true, forked: true,
  };
  const { page, close } = await browser.open(`${url}/?kind=page.marked`, {
    prepare: (page) => page.route('**/v1/entries?*', (route) => route.fulfill({ json: { entries: [entry], next: null } })),
  });
  await rows(page).first().waitFor();
  assert.deepEqual(await rows(page).first().locator('.mark').allTextContents(), ['late', 'skew', 'forked']);
  await close();
});

test('an entry opens in full, has an address, and gives the keyboard back', async () => {
  const [{ id }] = await post(url, 'entries', { topic: 'page/detail', kind: 'page.long', data: { long: 'x'.repeat(5_000), last: 'the end' } });
  const { page, close } = await browser.open(`${url}/?kind=page.long`);
  await live(page);
  await rows(page).first().locator('button').focus();
  await page.keyboard.press('Enter');
  await page.locator('#detail[open]').waitFor();
  await page.locator('#detail-json', { hasText: 'the end' }).waitFor(); // the row held a part of it
  const [author, seq] = id.split(':');
  const shown = JSON.parse(await page.locator('#detail-json').textContent());
  assert.deepEqual(shown, await get(url, `entries/${author}/${seq}`));
  assert.equal(new URL(page.url()).hash, `#e=${id}`);
  const address = page.url();
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => location.hash === '' && document.activeElement.closest('#entries-list'));
  await page.goto('about:blank');
  await page.goto(address);
  await page.locator('#detail-json', { hasText: 'the end' }).waitFor();
  await close();
});

test('keys move from row to row', async () => {
  const { page, close } = await browser.open(`${url}/?author=${(await get(url, 'status')).node}`);
  await live(page);
  const at = () => page.evaluate(() => Number(document.activeElement.closest('li').getAttribute('aria-posinset')));
  await page.locator('#entries-list [tabindex="0"]').focus();
  await page.keyboard.press('Home');
  assert.equal(await at(), 1);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  assert.equal(await at(), 3);
  await page.keyboard.press('ArrowUp');
  assert.equal(await at(), 2);
  await page.keyboard.press('PageDown');
  assert.ok(await at() > 5);
  assert.equal(await page.locator('#entries-list [tabindex="0"]').count(), 1);
  await page.keyboard.press('Home');
  assert.equal(await at(), 1);
  await close();
});

test('what authors wrote never becomes markup, nor is any of it unseen', async () => {
  const data = '<img src=x onerror=document.title="owned"> \u202Eevil\u0007';
  await post(url, 'entries', { topic: 'page/<b>hostile</b>', kind: 'page.hostile', data });
  const { page, close } = await browser.open(`${url}/?kind=page.hostile`);
  const row = rows(page).first();
  await row.waitFor();
  assert.equal(await row.locator('img, b').count(), 0);
  assert.match(await row.textContent(), /<img src=x onerror=.*\\u202eevil\\u0007/);
  assert.doesNotMatch(await page.title(), /owned/);
  await close();
});

test('a reader who reads is not moved, and is told what waits', async () => {
  const { page, close } = await browser.open(url);
  await live(page);
  await page.getByRole('button', { name: 'Pause' }).click();
  const first = await rows(page).first().getAttribute('data-id');
  await post(url, 'entries', { topic: 'page/waits', kind: 'page.waits', data: 1 });
  await page.locator('#waiting', { hasText: 'new' }).waitFor();
  assert.equal(await rows(page).first().getAttribute('data-id'), first);
  await page.getByRole('button', { name: 'Resume' }).click();
  await rows(page).filter({ hasText: 'page.waits' }).waitFor();
  await close();
});

test('the page says when its node does not answer', async () => {
  const { page, close } = await browser.open(url);
  await live(page);
  await page.route('**/v1/status', (route) => route.abort());
  await page.locator('#state', { hasText: 'no answer' }).waitFor();
  await close([/Failed to load resource/]);
});

for (const colorScheme of ['light', 'dark']) {
  for (const [width, viewport] of [['wide', undefined], ['narrow', NARROW]]) {
    test(`axe finds nothing: ${colorScheme}, ${width}`, async () => {
      const { page, close } = await browser.open(url, { colorScheme, viewport });
      await live(page);
      await page.locator('#nodes tbody tr').nth(2).waitFor({ state: 'attached' });
      await picture(page, `log-${colorScheme}-${width}`);
      await assertAccessible(page, 'the log');
      const nodes = page.locator('#nodes-section');
      assert.equal(await nodes.evaluate((it) => it.open), viewport === undefined);
      if (viewport) {
        await nodes.locator('summary').click();
        await picture(page, `nodes-${colorScheme}-${width}`);
        await assertAccessible(page, 'the nodes');
        await nodes.locator('summary').click();
      }
      await rows(page).first().locator('button').click();
      await page.locator('#detail-json', { hasText: '"id"' }).waitFor();
      await page.locator('#proof-said:not([data-state="checking"])').waitFor();
      await picture(page, `entry-${colorScheme}-${width}`);
      await assertAccessible(page, 'an entry');
      await close([/Failed to load resource/]);
    });
  }
}
