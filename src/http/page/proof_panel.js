// What the detail says of an entry's proof: each step of the verification, and what became of it.

import { byId, element } from './element.js';
import { ask, entryPath } from './api.js';
import { visible } from './foreign.js';
import { verify } from './proof.js';

export class ProofPanel {
  #checking = 0;

  /** Asks for the entry's proof, and verifies it here: the node that gave it is not believed. */
  async check(entry) {
    const checking = ++this.#checking;
    this.#say('checking', 'checking in this browser');
    byId('proof-steps').replaceChildren();
    const verdict = await verdictOn(entry);
    if (checking !== this.#checking) return; // another entry is shown meanwhile
    this.#say(verdict.state, verdict.words);
    byId('proof-steps').replaceChildren(...verdict.steps.map((step) => element('li', {}, step)));
  }

  clear() {
    this.#checking += 1;
    this.#say('none', '');
    byId('proof-steps').replaceChildren();
  }

  #say(state, words) {
    byId('proof-said').dataset.state = state;
    byId('proof-said').textContent = words;
  }
}

async function verdictOn(entry) {
  if (!globalThis.crypto?.subtle) {
    return { state: 'unknown', words: 'not checked: browsers verify on https or on loopback only', steps: [] };
  }
  let proof;
  try {
    proof = await ask(`${entryPath(entry.id)}/proof`);
  } catch (error) {
    return { state: 'unknown', words: `there is no proof to check: ${visible(error.message)}`, steps: [] };
  }
  const steps = [];
  try {
    await verify(proof, entry, (step) => steps.push(step));
    return { state: 'holds', words: 'holds: verified in this browser', steps };
  } catch (error) {
    return { state: 'fails', words: `does not hold: ${visible(error.message)}`, steps };
  }
}
