// Sessions and their transcripts on the page.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { NARROW, assertAccessible, picture, startBrowser } from './browser.mjs';
import { post, startCluster } from './cluster.mjs';

let cluster, browser, url;

before(async () => {
  [cluster, browser] = await Promise.all([startCluster('--nodes', '2'), startBrowser()]);
  [url] = cluster.urls;
  const events = [
    { kind: 'system', data: 'You are a reviewer. Say what is wrong, and where; praise nothing.' },
    { kind: 'user', data: 'Review the retry loop of the uploader, please.' },
    { kind: 'tool.call', data: { tool: 'read_file', path: 'src/upload/retry.rs' } },
    { kind: 'tool.result', data: { lines: 84, ok: true } },
    { kind: 'assistant', data: 'Two findings:\n\n1. The loop retries a 4xx, which never gets better.\n2. It sleeps without jitter, so all hosts come back at once.' },
  ];
  await post(url, 'sessions/default', { session: 'review-57', transcript: 'review-57-a', events });
  await post(url, 'sessions/default', {
    session: 'review-57', transcript: 'review-57-b', origin: 'fork', of: 'review-57-a', at: 2,
    events: [{ kind: 'assistant', data: 'One finding: see the jitter.' }],
  });
  await post(url, 'sessions/default', { session: 'plan-12', transcript: 'plan-12-a', events: [{ kind: 'user', data: 'Plan it.' }] });
  await post(url, 'sessions/acme', { session: 'elsewhere', transcript: 'elsewhere-a', events: [{ kind: 'user', data: 'Of acme.' }] });
});
after(() => Promise.all([cluster?.stop(), browser?.stop()]));

const said = (page) => page.locator('#transcript-entries li');

test('sessions are listed newest first, those of other tenants apart', async () => {
  const { page, close } = await browser.open(`${url}/?view=sessions`);
  await page.locator('#sessions-list > ul > li').nth(1).waitFor();
  assert.deepEqual(await page.locator('#sessions-list > ul > li > a').allTextContents(), ['plan-12', 'review-57']);
  await page.locator('#sessions-tenant').selectOption('acme');
  await page.locator('#sessions-list a', { hasText: 'elsewhere' }).waitFor();
  assert.equal(new URL(page.url()).searchParams.get('tenant'), 'acme');
  await page.goBack();
  await page.locator('#sessions-list a', { hasText: 'plan-12' }).waitFor();
  await close();
});

test('a session shows its newest transcript, and an older one when it is chosen', async () => {
  const { page, close } = await browser.open(`${url}/?view=sessions`);
  await page.locator('#sessions-list a', { hasText: 'review-57' }).click();
  await said(page).filter({ hasText: 'see the jitter' }).waitFor();
  await page.locator('#transcript-state', { hasText: 'live' }).waitFor();
  await page.locator('#sessions-list a', { hasText: 'review-57-a' }).click();
  await page.locator('#transcript-title', { hasText: 'review-57-a' }).waitFor();
  assert.equal(await said(page).count(), 5);
  assert.match(await said(page).last().textContent(), /Two findings/);
  await picture(page, 'sessions-light-wide');
  await page.goBack();
  await page.locator('#transcript-title', { hasText: 'review-57-b' }).waitFor();
  await close();
});

test('what is said while one looks appears, and so does a transcript that begins', async () => {
  const { page, close } = await browser.open(`${url}/?view=sessions&session=plan-12`);
  await page.locator('#transcript-state', { hasText: 'live' }).waitFor();
  await post(url, 'transcripts/default/plan-12-a', [{ kind: 'assistant', data: 'Three steps.' }]);
  await said(page).filter({ hasText: 'Three steps.' }).waitFor();
  await post(url, 'sessions/default', {
    session: 'plan-12', transcript: 'plan-12-b', origin: 'compaction', of: 'plan-12-a', events: [{ kind: 'summary', data: 'It was planned.' }],
  });
  await said(page).filter({ hasText: 'It was planned.' }).waitFor();
  assert.match(await page.locator('#transcript-line').textContent(), /sums up plan-12-a/);
  await page.locator('#sessions-list a', { hasText: 'plan-12-b' }).waitFor();
  await close();
});

test('a long transcript shows its newest entries, and those before when they are asked for', async () => {
  const events = Array.from({ length: 2_100 }, (_, n) => ({ kind: 'user', data: `line ${n}` }));
  await post(url, 'sessions/default', { session: 'long', transcript: 'long-a', events });
  await post(url, 'sessions/default', { session: 'long', transcript: 'long-b', events: [] });
  const { page, close } = await browser.open(`${url}/?view=sessions&session=long&transcript=long-a`);
  await said(page).nth(999).waitFor();
  assert.match(await said(page).first().textContent(), /line 1100$/);
  assert.match(await page.locator('#transcript-line').textContent(), /^2,100 entries/);
  const before = page.locator('#transcript-all');
  assert.equal(await before.textContent(), 'Show 1,000 of the 1,100 before');
  await before.click();
  await said(page).nth(1_999).waitFor();
  assert.equal(await before.textContent(), 'Show the 100 before');
  await before.click();
  await said(page).nth(2_099).waitFor();
  assert.match(await said(page).first().textContent(), /line 0$/);
  assert.equal(await before.isVisible(), false);
  await close();
});

test('the views are links, and going back leads to the log', async () => {
  const { page, close } = await browser.open(url);
  await page.getByRole('link', { name: 'Sessions' }).click();
  await page.locator('#sessions').waitFor();
  assert.equal(await page.locator('#log').isVisible(), false);
  await page.goBack();
  await page.locator('#log').waitFor();
  assert.equal(await page.locator('#sessions').isVisible(), false);
  await close();
});

for (const colorScheme of ['light', 'dark']) {
  for (const [width, viewport] of [['wide', undefined], ['narrow', NARROW]]) {
    test(`axe finds nothing on sessions: ${colorScheme}, ${width}`, async () => {
      const { page, close } = await browser.open(`${url}/?view=sessions&session=review-57&transcript=review-57-a`, { colorScheme, viewport });
      await said(page).nth(4).waitFor();
      await assertAccessible(page, 'sessions');
      await picture(page, `sessions-${colorScheme}-${width}`);
      await close();
    });
  }
}
