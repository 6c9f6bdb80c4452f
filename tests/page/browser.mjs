// Chromium for the page's tests, and what every test of the page asks of it.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createRequire } from 'node:module';

// Packages lie where scripts/page installed them, not beside this file.
const require = createRequire(join(process.env.TOWLINE_PAGE_PACKAGES, 'node_modules/'));
const { chromium } = require('playwright-core');
const AXE = require.resolve('axe-core/axe.min.js');
const PICTURES = process.env.TOWLINE_PAGE_PICTURES;

export const WIDE = { width: 1280, height: 860 };
export const NARROW = { width: 390, height: 844 };

export async function startBrowser() {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] });
  return {
    stop: () => browser.close(),

    /** Opens an address. Fails at `close` when the page logged an error or asked anybody but its node. */
    async open(url, { viewport = WIDE, colorScheme = 'light', prepare = async () => {} } = {}) {
      const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce', bypassCSP: false });
      const page = await context.newPage();
      const complaints = [];
      const { origin } = new URL(url);
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
      });
      page.on('pageerror', (error) => complaints.push(error.stack));
      page.on('request', (request) => {
        const to = new URL(request.url());
        if (to.protocol !== 'data:' && to.origin !== origin) complaints.push(`asked ${to}`);
      });
      await prepare(page);
      await page.goto(url);
      const close = async (allowed = []) => {
        await context.close();
        const left = complaints.filter((complaint) => !allowed.some((pattern) => pattern.test(complaint)));
        assert.deepEqual(left, []);
      };
      return { page, close };
    },
  };
}

/** Waits until the log shows entries and follows. */
export async function live(page) {
  await page.locator('#follow-state[data-state="live"]').waitFor();
  await page.locator('#entries-list li').first().waitFor();
}

/** Fails when axe finds a violation on the page as it is, or something is wider than the window. */
export async function assertAccessible(page, what) {
  const wider = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
  assert.ok(wider <= 0, `${what}: ${wider} px wider than the window`);
  // The policy forbids foreign scripts, and shall: axe comes by the debugger, which stands above it.
  const { readFileSync } = await import('node:fs');
  await page.evaluate(readFileSync(AXE, 'utf8'));
  const { violations, passes } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const found = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`);
  assert.deepEqual(found, [], what);
  assert.ok(passes.length > 20, `axe looked at too little: ${passes.length} rules`);
}

/** Takes a picture, where pictures are wanted. */
export async function picture(page, name) {
  if (!PICTURES) return;
  mkdirSync(PICTURES, { recursive: true });
  await page.screenshot({ path: join(PICTURES, `${name}.png`) });
}
