// What is going on now: how many stand where, the flow, and the open ones, worst first.

import { get } from './api.js';
import { arrange, count, h, trouble } from './dom.js';
import { flowMap } from './flow.js';
import * as commands from './commands.js';
import { wantFlow } from './live.js';
import { refresher, table } from './list.js';

const ROWS = 25;

export async function home({ about }) {
  const map = flowMap(about);
  const facets = h('ul', { class: 'facets', 'aria-label': 'How many stand where' });
  const body = table(about, `No ${about.many} are open.`);
  const all = h('p', { class: 'more' });
  const problem = h('div', null);
  const load = async () => {
    try {
      const [counts, worst] = await Promise.all([
        get('/counts'),
        get(`/${about.many}`, { order: 'worst', limit: ROWS }),
      ]);
      showFacets(facets, about, counts.counts);
      body.show(worst[about.many]);
      all.replaceChildren(...(worst.next ? [h('a', { href: `/${about.many}?order=worst` }, `all ${worst.count.text}`)] : []));
      problem.replaceChildren();
    } catch (error) {
      problem.replaceChildren(trouble(error));
    }
  };
  const refresh = refresher(load);
  await load();
  wantFlow();
  const timer = setInterval(wantFlow, 1000);
  const node = h('div', { class: 'home' },
    h('h1', { class: 'unseen' }, 'Now'),
    facets,
    h('section', { 'aria-labelledby': 'flow' },
      h('h2', { id: 'flow' }, 'The flow'),
      map.node),
    h('section', { 'aria-labelledby': 'worst' },
      h('h2', { id: 'worst' }, 'Open, longest wait first'),
      problem, body.node, all));
  return {
    node,
    title: 'Now',
    command: `quadrille ${about.many} ls --order worst`,
    close: () => { clearInterval(timer); refresh.stop(); },
    see: (messages) => {
      for (const message of messages) if (message.kind === 'flow') map.see(message);
      // With each heartbeat, too, because ages grow.
      if (messages.some((message) => message.kind !== 'flow')) refresh();
    },
  };
}

// A worker that nobody waits for is not shown.
function showFacets(node, about, counts) {
  const total = (state) => counts.filter((one) => one.state === state).reduce((sum, one) => sum + one.count, 0);
  const facet = (parameters, name, number, kind) => {
    const query = new URLSearchParams(parameters).toString();
    const link = h('a', { href: `/${about.many}?${query}`, class: `facet is-${kind}` },
      h('b', null, count(number)), ' ', name);
    return h('li', { 'data-key': query }, link);
  };
  const states = ['open', 'cancelling', 'completed', 'cancelled'];
  const waiting = new Map();
  for (const one of counts) {
    if (one.waits_for) waiting.set(one.waits_for, (waiting.get(one.waits_for) ?? 0) + one.count);
  }
  arrange(node, [
    ...states.map((state) => facet(
      state === 'open' || state === 'cancelling' ? { state, order: 'worst' } : { state }, state, total(state), state)),
    ...[...waiting].map(([worker, number]) => facet({ waits_for: worker, order: 'worst' }, `wait for ${worker}`, number, 'waiting')),
  ]);
}
