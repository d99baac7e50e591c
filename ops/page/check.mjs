// The page, driven by a real browser on a running stack. Each check says what it shows.

import { axe, eventually, Stack } from './stack.mjs';

const complaints = [];
let failed = 0;

// Whatever the browser complains about is a failure, but for what a check provokes itself.
async function open(context, url) {
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(`${url}: ${error.message}`));
  page.on('console', (message) => {
    const text = message.text();
    if (message.type() === 'error' && !/ERR_|Failed to load resource/.test(text)) complaints.push(`${url}: ${text}`);
  });
  await page.goto(url);
  return page;
}

async function check(what, work) {
  const began = Date.now();
  try {
    const said = await work();
    console.log(`ok    ${what}${said ? `: ${said}` : ''} (${Date.now() - began} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${what}\n      ${String(error.stack ?? error).split('\n').slice(0, 6).join('\n      ')}`);
  }
}

function expect(is, what) {
  if (!is) throw new Error(what);
}

const stack = await Stack.start();
try {
  await all();
} finally {
  await stack.stop();
}
if (complaints.length > 0) {
  failed += 1;
  console.log(`FAIL  the browser complains:\n      ${[...new Set(complaints)].join('\n      ')}`);
}
console.log(failed === 0 ? 'all holds' : `${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

async function all() {
  const { url, token } = stack;
  const context = await stack.browser.newContext({ viewport: { width: 1280, height: 900 } });
  const home = await open(context, `${url}/#token=${token}`);
  await home.waitForSelector('.live.is-live');
  await home.waitForSelector('.arrow.is-running');
  const shown = (page, text) => page.waitForFunction((wanted) => document.body.innerText.includes(wanted), text);
  // A reload would lose it.
  const mark = (page) => page.evaluate(() => { window.sameDocument = true; });
  const same = async (page) => expect(await page.evaluate(() => window.sameDocument === true), 'the page was loaded again');

  await check('the token leaves the address', async () => {
    expect(!home.url().includes('token'), home.url());
  });

  await check('an order that is placed over HTTP completes before the reader\'s eyes', async () => {
    stack.signal('ship-order', 'SIGSTOP');
    try {
      await stack.place('watched-1');
      const page = await open(context, `${url}/orders/watched-1`);
      await page.waitForSelector('.badge.is-open');
      await page.waitForSelector('.row-of.is-ghost');
      await page.waitForSelector('.why[data-code]');
      await shown(page, 'quadrille why watched-1');
      await mark(page);
      stack.signal('ship-order', 'SIGCONT');
      await page.waitForSelector('.badge.is-completed');
      expect(await page.locator('.row-of.is-ghost').count() === 0, 'something is still to come');
      await same(page);
      await page.close();
    } finally {
      stack.signal('ship-order', 'SIGCONT');
    }
  });

  await check('a refused order shows what was taken back, in its own colour', async () => {
    await stack.place('refused-1', { ship_to: { country: 'DE', postcode: '00000' } });
    await stack.closed('refused-1');
    const page = await open(context, `${url}/orders/refused-1`);
    await page.waitForSelector('.badge.is-cancelled');
    const colour = (kind) => page.locator(`.dot.is-${kind}`).first().evaluate((dot) => getComputedStyle(dot).fill);
    const [forward, refusal, undo] = [await colour('forward'), await colour('refusal'), await colour('undo')];
    expect(new Set([forward, refusal, undo]).size === 3, `${forward} ${refusal} ${undo}`);
    await page.getByRole('link', { name: /payment\.refunded .*by charge-customer/ }).click();
    await page.waitForURL(/\/orders\/refused-1\/events\/\d+$/);
    await page.waitForSelector('.side .json');
    await shown(page, 'orders.payment-undo.refused-1');
    const deep = await open(context, page.url());
    await shown(deep, 'orders.payment-undo.refused-1');
    await deep.close();
    await page.close();
  });

  await check('a worker that stops is red within two seconds, and again well when it goes on', async () => {
    const red = home.waitForSelector('.arrow.is-stopped[data-key="arrow-ship-order-forward"]');
    const stopped = Date.now();
    stack.signal('ship-order', 'SIGSTOP');
    try {
      await red;
      const took = Date.now() - stopped;
      await shown(home, 'No replica of ship-order answers.');
      expect(took <= 2000, `${took} ms`);
      stack.signal('ship-order', 'SIGCONT');
      await home.waitForSelector('.arrow.is-running[data-key="arrow-ship-order-forward"]');
      return `red after ${took} ms`;
    } finally {
      stack.signal('ship-order', 'SIGCONT');
    }
  });

  await check('a service that gives no answer is shown, with the arrow that it pauses', async () => {
    stack.signal('sandbox', 'SIGSTOP');
    try {
      for (let at = 0; at < 12; at += 1) await stack.place(`outage-${at}`);
      await home.waitForSelector('.arrow.is-paused[data-key="arrow-charge-customer-forward"]');
      await shown(home, 'payment-gateway is paused');
      const page = await open(context, `${url}/steps/charge-customer`);
      await page.waitForSelector('.card.is-warn');
      await shown(page, 'quadrille breaker show payment-gateway');
      await page.locator('#held ~ div tbody tr').first().waitFor();
      await page.close();
    } finally {
      stack.signal('sandbox', 'SIGCONT');
    }
    await stack.closed('outage-11');
    await home.waitForSelector('.arrow.is-running[data-key="arrow-charge-customer-forward"]');
  });

  await check('the keyboard alone finds an order, opens an event and places an order', async () => {
    const page = await open(context, url);
    await page.waitForSelector('.live.is-live');
    const keys = page.keyboard;
    await keys.press('/');
    await keys.type('watched-1');
    await keys.press('Enter');
    await page.waitForURL('**/orders/watched-1');
    await page.waitForSelector('.row-of a');
    await tabTo(page, '.row-of a');
    await keys.press('ArrowDown');
    await keys.press('Enter');
    await page.waitForSelector('.side .json');
    await page.evaluate(() => document.activeElement.blur());
    await tabTo(page, '#nav a[href="/place"]', true);
    await keys.press('Enter');
    await page.waitForSelector('textarea');
    await tabTo(page, 'textarea');
    await keys.press('Control+Enter');
    await page.waitForSelector('.badge.is-completed');
    await page.close();
  });

  await check('a mistake in an order is shown with its place', async () => {
    const page = await open(context, `${url}/place`);
    await page.fill('textarea', '{"customer":"cus_1"}');
    await page.click('button[type=submit]');
    await page.waitForSelector('.problem li code');
    await shown(page, '/lines');
    await page.close();
  });

  await check('the page goes on after its service was killed and started again', async () => {
    const before = stack.pid('query');
    await mark(home);
    stack.signal('query', 'SIGKILL');
    await home.waitForSelector('.live:not(.is-live)');
    await eventually('it is started again', async () => ![undefined, before].includes(stack.pid('query')) && stack.read('/counts'));
    await home.waitForSelector('.live.is-live');
    const completed = await number(home, 'completed');
    await stack.place('after-restart-1');
    await home.waitForFunction((least) => Number(document.querySelector('.facet.is-completed b').textContent) > least, completed);
    await same(home);
  });

  await check('eight tabs all stay live', async () => {
    const tabs = [];
    for (let at = 0; at < 8; at += 1) tabs.push(await open(context, at % 2 ? url : `${url}/orders`));
    for (const tab of tabs) await tab.waitForSelector('.live.is-live');
    await stack.place('tabs-1');
    await stack.closed('tabs-1');
    for (const [at, tab] of tabs.entries()) {
      if (at % 2 === 0) await shown(tab, 'tabs-1');
      else await tab.waitForFunction((wanted) => document.querySelector('.facet.is-completed b')?.textContent === wanted,
        String((await stack.read('/counts')).counts.find((one) => one.state === 'completed').count));
      expect(await tab.evaluate(() => fetch('/counts').then((answer) => answer.ok)), 'a tab cannot ask');
    }
    // The one that reads goes; another takes over.
    await tabs.shift().close();
    await home.close();
    await stack.place('tabs-2');
    await shown(tabs[1], 'tabs-2');
    for (const tab of tabs) await tab.close();
  });

  await check('page 2 of a list keeps its rows while new ones come', async () => {
    for (let at = 0; at < 25; at += 1) await stack.place(`many-${at}`);
    await stack.closed('many-24');
    const page = await open(context, `${url}/orders?limit=10`);
    await page.getByRole('link', { name: 'Next page' }).click();
    await page.waitForURL(/after=/);
    await page.waitForSelector('tbody tr');
    const ids = () => page.locator('tbody th a').allInnerTexts();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 10);
    const before = await ids();
    for (let at = 0; at < 3; at += 1) await stack.place(`newer-${at}`);
    await shown(page, '3 new since this page was read');
    expect(JSON.stringify(await ids()) === JSON.stringify(before), 'the rows changed');
    await page.getByRole('link', { name: 'First page' }).first().click();
    await shown(page, 'newer-2');
    await page.close();
  });

  await check('filters are in the address, and the command that does the same is shown', async () => {
    const page = await open(context, `${url}/orders`);
    await page.waitForSelector('.filters');
    await page.selectOption('select[name=state]', 'cancelled');
    await page.waitForURL(/state=cancelled/);
    await shown(page, 'quadrille orders ls --state cancelled');
    await shown(page, 'refused-1');
    await page.goBack();
    await shown(page, 'newer-2');
    await page.close();
  });

  const views = ['/', '/orders', '/orders?state=nonsense', '/orders/refused-1', '/steps/charge-customer', '/place', '/find?q=many'];
  for (const colorScheme of ['light', 'dark']) {
    await check(`axe-core finds nothing serious (${colorScheme})`, async () => {
      const themed = await stack.browser.newContext({ colorScheme, reducedMotion: 'reduce' });
      await seriousIn(themed, views.map((view) => url + view));
      await themed.close();
    });
  }

  await check('390 px are wide enough', async () => {
    const phone = await stack.browser.newContext({ viewport: { width: 390, height: 844 } });
    for (const view of views) {
      const page = await open(phone, url + view);
      await page.waitForSelector('main:not([aria-busy]) > *');
      const wide = await page.evaluate(() => document.scrollingElement.scrollWidth);
      expect(wide <= 390, `${view} is ${wide} px wide`);
      await page.close();
    }
    await phone.close();
  });
}

async function number(page, kind) {
  return Number(await page.locator(`.facet.is-${kind} b`).innerText());
}

// Presses Tab until something is focused.
async function tabTo(page, selector, fromStart = false) {
  if (fromStart) await page.evaluate(() => document.querySelector('.skip').focus());
  for (let presses = 0; presses < 80; presses += 1) {
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`Tab does not reach ${selector}`);
}

async function seriousIn(context, urls) {
  const found = [];
  for (const url of urls) {
    const page = await open(context, url);
    await page.waitForSelector('main:not([aria-busy]) > *');
    // The page's policy lets no foreign script in, so axe comes by the debugger.
    const session = await context.newCDPSession(page);
    await session.send('Runtime.evaluate', { expression: axe });
    const { violations } = await page.evaluate(() => window.axe.run());
    for (const one of violations.filter(({ impact }) => ['serious', 'critical'].includes(impact))) {
      found.push(`${url}: ${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => node.target).join(' ')}`);
    }
    await page.close();
  }
  expect(found.length === 0, found.join('\n      '));
}
