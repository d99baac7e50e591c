// Pictures of the page on a running stack, with some orders on their way.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Stack } from './stack.mjs';

const [first, second] = process.argv.slice(2);
const only = first === '--one' ? second : null;
if (!only) mkdirSync(first, { recursive: true });

const stack = await Stack.start();
try {
  await some();
  await (only ? one(only) : all(first));
} finally {
  stack.signal('ship-order', 'SIGCONT');
  await stack.stop();
}

// Orders that have ended one way or another, and some that wait for a worker that hangs.
async function some() {
  const customers = ['cus_1001', 'cus_2040', 'cus_7313'];
  for (let at = 0; at < 24; at += 1) {
    const lines = [{ sku: at % 3 ? 'ROSE-RED' : 'VASE-GLASS', quantity: 1 + (at % 5), unit_price: { amount: 250 + at * 35, currency: 'EUR' } }];
    await stack.place(`A${String(1001 + at)}`, { customer: customers[at % 3], lines });
  }
  await stack.place('A2001', { payment_method: 'pm_card_chargeDeclined' });
  await stack.place('A2002', { ship_to: { country: 'DE', postcode: '00000' } });
  for (const id of ['A1024', 'A2001', 'A2002']) await stack.closed(id);
  stack.signal('ship-order', 'SIGSTOP');
  for (let at = 0; at < 7; at += 1) await stack.place(`A${String(3001 + at)}`, { customer: customers[at % 3] });
}

async function open(context, path) {
  const page = await context.newPage();
  await page.goto(`${stack.url}${path}`);
  await page.waitForSelector('.live.is-live');
  await page.waitForSelector('main:not([aria-busy]) > *');
  if (path.startsWith('/steps/')) await page.waitForSelector('.card');
  if (path === '/') await page.waitForSelector('.arrow.is-stopped');
  return page;
}

async function all(folder) {
  const refused = await stack.read('/orders/A2002');
  const payment = refused.events.find((event) => event.slot === 'payment-undo').sequence;
  const views = {
    home: '/', list: '/orders', refused: '/orders/A2002', event: `/orders/A2002/events/${payment}`,
    open: '/orders/A3001', step: '/steps/ship-order', place: '/place', find: '/find?q=cus_1001',
  };
  const ways = {
    light: { colorScheme: 'light', viewport: { width: 1280, height: 860 } },
    dark: { colorScheme: 'dark', viewport: { width: 1280, height: 860 } },
    phone: { colorScheme: 'light', viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 },
  };
  for (const [way, options] of Object.entries(ways)) {
    const context = await stack.browser.newContext(options);
    for (const [view, path] of Object.entries(views)) {
      const page = await open(context, path);
      await page.screenshot({ path: join(folder, `${view}-${way}.png`) });
      await page.close();
    }
    await context.close();
  }
  console.log(folder);
}

async function one(file) {
  const context = await stack.browser.newContext({ colorScheme: 'light', viewport: { width: 1280, height: 660 } });
  const page = await open(context, '/orders/A2002');
  await page.waitForSelector('.row-of');
  await page.screenshot({ path: file });
  console.log(file);
}
