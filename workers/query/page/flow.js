// The flow as it runs now: the way forward in one line, the way back below it. Each arrow is one
// durable: how fast it flows, what waits and for how long, what fails, and who takes it.

import { arrange, count, duration, h, plural } from './dom.js';

export function flowMap(about) {
  const grid = h('ol', { class: 'flow' });
  const note = h('div', { class: 'flow-note', role: 'status' });
  const node = h('div', null, grid, note);
  draw(grid, about, about.flow, null);
  return {
    node,
    see: ({ data, problem }) => {
      if (problem) {
        note.textContent = `The flow is not known now: ${problem.detail}`;
        grid.classList.add('is-stale');
        return;
      }
      grid.classList.remove('is-stale');
      draw(grid, about, data, data);
      const said = news(data);
      if (note.textContent !== said) note.textContent = said;
    },
  };
}

// In one sentence, also for those who do not see the map.
function news(flow) {
  const stopped = [...new Set(flow.arrows.filter((arrow) => arrow.condition === 'stopped').map((arrow) => arrow.worker))];
  const away = flow.services.filter((service) => service.phase !== 'flowing');
  const said = [];
  if (stopped.length > 0) said.push(`No replica of ${stopped.join(', ')} answers.`);
  for (const service of away) {
    const word = service.override ? `${service.override.mode} by ${service.override.by}` : service.phase;
    said.push(`${service.service} is ${word}${service.reason && !service.override ? ` (${service.reason})` : ''}.`);
  }
  return said.join(' ');
}

// Columns: the opening, then an arrow and a step for each row.
function draw(grid, about, flow, now) {
  const { steps } = flow;
  const last = 2 * steps.length + 1;
  const arrowOf = (worker, role) => now?.arrows.find((arrow) => arrow.worker === worker && arrow.role === role);
  const cells = [event(flow.opens.slot, 'opens', 1, 1)];
  steps.forEach((step, at) => {
    cells.push(arrow(about, step, 'forward', arrowOf(step.worker, 'forward'), 2 * at + 2, 2 * at + 3, 1));
    cells.push(station(about, step, now, 2 * at + 3, 1));
  });
  const back = steps.map((step, at) => ({ step, at })).filter(({ step }) => step.undo).reverse();
  if (back.length > 0) {
    cells.push(event(flow.turns.slot, 'turns', last, 2));
    let from = last;
    for (const { step, at } of back) {
      cells.push(arrow(about, step, 'undo', arrowOf(step.worker, 'undo'), 2 * at + 4, from, 2));
      cells.push(backOf(step, 'takes back', 2 * at + 3));
      from = 2 * at + 3;
    }
    const closing = steps.find((step) => step.cancelled);
    cells.push(arrow(about, closing, 'closing', arrowOf(closing.worker, 'closing'), 2, from, 2));
    cells.push(backOf(closing, 'closes', 1));
  }
  grid.style.setProperty('--steps', steps.length);
  arrange(grid, cells);
}

function put(node, key, from, to, row) {
  node.dataset.key = key;
  node.style.setProperty('--from', from);
  node.style.setProperty('--to', to);
  node.classList.add(row === 1 ? 'goes-on' : 'goes-back');
  return node;
}

const event = (name, kind, column, row) =>
  put(h('li', { class: `flow-event is-${kind}` }, h('span', null, name)), `event-${kind}`, column, column + 1, row);

function station(about, step, now, column, row) {
  const replicas = now?.replicas.filter((replica) => replica.worker === step.worker).length;
  const services = [...step.requires, ...step.prefers].map((name) => {
    const service = now?.services.find((one) => one.service === name);
    const phase = service?.phase ?? 'flowing';
    const bad = phase !== 'flowing' || service?.override;
    return h('span', { class: `service${bad ? ' is-away' : ''}`, title: `outside service: ${name}` }, name, bad && ` · ${service.override?.mode ?? phase}`);
  });
  const word = replicas === undefined ? '…' : replicas === 0 ? 'no replica answers' : plural(replicas, 'replica');
  return put(h('li', { class: `station${replicas === 0 ? ' is-stopped' : ''}` },
    h('a', { href: `/steps/${encodeURIComponent(step.worker)}` }, step.worker),
    h('small', null, word), services), `step-${step.worker}`, column, column + 1, row);
}

function backOf(step, does, column) {
  return put(h('li', { class: 'station is-undo' },
    h('a', { href: `/steps/${encodeURIComponent(step.worker)}` }, step.worker),
    h('small', null, does)), `undo-${step.worker}`, column, column + 1, 2);
}

function arrow(about, step, role, live, from, to, row) {
  const condition = live?.condition ?? 'unknown';
  const moves = condition === 'running' && live.per_second > 0;
  const node = h('li', { class: `arrow is-${condition}${moves ? ' moves' : ''}` },
    h('span', { class: 'rate' }, live ? rate(live, condition) : ''),
    h('span', { class: 'line', 'aria-hidden': 'true' }),
    h('span', { class: 'load' }, live && load(about, step, live)));
  node.setAttribute('aria-label', live ? spoken(live) : `${step.worker}: not known yet`);
  return put(node, `arrow-${step.worker}-${role}`, from, to, row);
}

function rate(live, condition) {
  if (condition === 'stopped') return 'stopped';
  if (condition === 'paused') return live.pause?.foreign ? 'paused by hand' : 'paused';
  return live.per_second > 0 ? `${live.per_second}/s` : 'idle';
}

// Replicas name only some of what they hold.
export const failing = (live) => `${live.failing}${live.capped ? '+' : ''}`;

const waits = (live) => live.waiting?.count || live.pending || 0;

function load(about, step, live) {
  const parts = [];
  const number = waits(live);
  if (number > 0) {
    parts.push(h('a', { href: `/${about.many}?waits_for=${encodeURIComponent(step.worker)}&order=worst` }, `${count(number)} wait`));
    if (live.waiting?.oldest_ms) parts.push(h('span', null, duration(live.waiting.oldest_ms)));
  }
  if (live.failing > 0) parts.push(h('span', { class: 'bad', title: live.last_error }, `${failing(live)} failing`));
  if (live.refused > 0) parts.push(h('span', { class: 'no' }, `${live.refused} refused`));
  return parts;
}

function spoken(live) {
  const parts = [`${live.durable}: ${live.condition}`, `${live.per_second ?? 0} a second`];
  const number = waits(live);
  parts.push(`${count(number)} waiting${number && live.waiting?.oldest_ms ? `, the oldest ${duration(live.waiting.oldest_ms)}` : ''}`);
  if (live.failing > 0) parts.push(`${failing(live)} failing: ${live.last_error}`);
  return parts.join(', ');
}
