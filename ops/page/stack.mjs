// A whole Quadrille of its own, a browser, and what both checks and pictures need of them.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const { QUADRILLE_BIN_DIR: bin, QUADRILLE_CHROMIUM: executablePath, QUADRILLE_PAGE_MODULES: modules } = process.env;
const require = createRequire(`${modules}/`);
const { chromium } = require('playwright-core');
export const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const PATIENCE = 30e3;

// Asks until there is an answer.
export async function eventually(what, look) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${PATIENCE / 1e3} s: ${what}`);
    await new Promise((done) => { setTimeout(done, 50); });
  }
}

export class Stack {
  static async start() {
    const stack = new Stack();
    stack.folder = mkdtempSync(join(tmpdir(), 'quadrille-page-'));
    stack.data = join(stack.folder, 'data');
    const started = ['dev', '--no-demo', '--json', '--data', stack.data];
    stack.dev = spawn(join(bin, 'quadrille'), started, { stdio: ['ignore', 'pipe', 'pipe'], cwd: stack.folder });
    let said = '';
    stack.dev.stderr.on('data', (text) => { said += text; });
    const lines = createInterface({ input: stack.dev.stdout });
    const first = await new Promise((done, fail) => {
      lines.once('line', done);
      stack.dev.once('exit', () => fail(new Error(`quadrille dev ended:\n${said}`)));
      stack.dev.once('error', fail);
    });
    stack.addresses = JSON.parse(first);
    stack.token = readFileSync(join(stack.data, 'query', 'token'), 'utf8').trim();
    const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    stack.browser = await chromium.launch({ executablePath, args });
    return stack;
  }

  get url() { return this.addresses.query; }

  async stop() {
    await this.browser?.close();
    const gone = new Promise((done) => { this.dev.once('exit', done); });
    this.dev.kill('SIGINT');
    await gone;
    rmSync(this.folder, { recursive: true, force: true });
  }

  // The process of a worker of this stack, and of no other; or its sandbox.
  pid(worker) {
    const file = worker === 'sandbox' ? 'sandbox.ports' : `${worker}.address`;
    const all = execFileSync('ps', ['-A', '-ww', '-o', 'pid=,args='], { encoding: 'utf8' });
    const mine = all.split('\n').find((line) => line.includes(`${this.data}/run/${file}`));
    return mine && Number(mine.trim().split(' ')[0]);
  }

  signal(worker, signal) { process.kill(this.pid(worker), signal); }

  // Places one as any client does: over HTTP.
  async place(id, changes = {}) {
    const order = {
      order_id: id, customer: 'cus_1001', payment_method: 'pm_card_visa',
      ship_to: { country: 'DE', postcode: '10115' },
      lines: [{ sku: 'ROSE-RED', quantity: 3, unit_price: { amount: 250, currency: 'EUR' } }],
      ...changes,
    };
    const answer = await fetch(`${this.addresses.command}/orders`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(order),
    });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }

  async read(path) {
    const answer = await fetch(this.url + path).catch(() => null);
    return answer?.ok ? answer.json() : null;
  }

  closed(id) {
    return eventually(`${id} is closed`, async () => {
      const story = await this.read(`/orders/${id}`);
      return story && ['completed', 'cancelled'].includes(story.state) && story;
    });
  }
}
