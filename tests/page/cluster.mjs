// A cluster of real nodes for the page's tests: `towline demo`, on loopback, ended with the tests.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const PATIENCE_MS = 120_000;

/** Starts nodes and gives their addresses once they hold everything that the demo writes. */
export async function startCluster(...flags) {
  const directory = mkdtempSync(join(tmpdir(), 'towline-page-'));
  const child = spawn(process.env.TOWLINE, ['demo', '--data', join(directory, 'data'), ...flags], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
    rmSync(directory, { recursive: true, force: true });
  };
  const urls = [];
  const ready = new Promise((resolve, reject) => {
    const patience = setTimeout(() => reject(new Error('the demo is not ready')), PATIENCE_MS);
    child.once('exit', (code) => reject(new Error(`the demo ended with ${code}`)));
    createInterface(child.stdout).on('line', (line) => {
      const [, url] = /^\w+ +[0-9a-f]{8} +(http:\S+)/.exec(line) ?? [];
      if (url) urls.push(url);
      if (!line.startsWith('Ctrl-C') && !line.includes('Ctrl-C ends')) return;
      clearTimeout(patience);
      resolve();
    });
  });
  await ready;
  return { urls, stop };
}

/** GET of a route as JSON. */
export async function get(url, route) {
  const response = await fetch(`${url}/v1/${route}`);
  if (!response.ok) throw new Error(`${route}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** POST of JSON, or of lines of it, that must be taken. */
export async function post(url, route, body) {
  const lines = typeof body === 'string';
  const response = await fetch(`${url}/v1/${route}`, {
    method: 'POST',
    headers: { 'content-type': lines ? 'application/x-ndjson' : 'application/json' },
    body: lines ? body : JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${route}: ${response.status} ${await response.text()}`);
  return response.json();
}
