// One step: who runs it, what they hold, which services it needs, and who waits for it.

import { get } from './api.js';
import { arrange, clock, count, duration, h, plural, short } from './dom.js';
import * as commands from './commands.js';
import { failing } from './flow.js';
import { wantFlow } from './live.js';
import { refresher, table } from './list.js';

export async function step({ about }, worker) {
  const row = about.flow.steps.find((one) => one.worker === worker);
  if (!row) throw { title: 'no such step', detail: `the flow has ${about.flow.steps.map((one) => one.worker).join(', ')}` };
  const arrows = h('div', { class: 'cards' });
  const held = h('div', null);
  const body = table(about);
  const show = (flow) => {
    arrange(arrows, [
      ...flow.arrows.filter((arrow) => arrow.worker === worker).map(durable),
      ...flow.services.filter((one) => row.requires.includes(one.service)).map(service),
    ]);
    const replicas = flow.replicas.filter((one) => one.worker === worker);
    held.replaceChildren(...inHand(about, replicas, flow.arrows[0]?.now));
  };
  const load = async () => {
    try {
      body.show((await get(`/${about.many}`, { waits_for: worker, order: 'worst', limit: 25 }))[about.many]);
    } catch {
      // The next change reads it again.
    }
  };
  const refresh = refresher(load);
  await load();
  get('/flow').then(show, () => {});
  wantFlow();
  const timer = setInterval(wantFlow, 1000);
  const writes = [short(row.done), row.refused && short(row.refused), row.cancelled && short(row.cancelled)].filter(Boolean);
  const node = h('div', null,
    h('p', { class: 'crumb' }, h('a', { href: '/' }, 'the flow')),
    h('h1', null, h('span', { class: 'id' }, worker)),
    h('p', { class: 'why' }, `Reacts to ${row.on}, writes ${writes.join(' or ')}`,
      row.pivot && `, after ${short(row.pivot.go)}, from which on nothing before it says no`,
      row.undo && `; taken back by ${row.undo.events.map(short).join(' or ')}`, '.'),
    arrows,
    h('section', { 'aria-labelledby': 'held' }, h('h2', { id: 'held' }, 'In hand'), held),
    h('section', { 'aria-labelledby': 'waiting' }, h('h2', { id: 'waiting' }, 'Waiting for it, longest first'), body.node));
  return {
    node,
    title: worker,
    command: [
      commands.list(about, { waits_for: worker, order: 'worst' }),
      commands.durable(about.flow.stream, worker),
      row.requires.length > 0 && commands.breaker(row.requires[0]),
    ].filter(Boolean),
    close: () => { clearInterval(timer); refresh.stop(); },
    see: (messages) => {
      for (const message of messages) if (message.kind === 'flow' && message.data) show(message.data);
      if (messages.some((message) => ['transition', 'resync', 'again'].includes(message.kind))) refresh();
    },
  };
}

// When it is due, and no call is free, its service is paused or answers others first.
function nextTry(at, now) {
  if (!at) return 'now';
  return Date.parse(at) > Date.parse(now) ? clock(at) : 'once a call is free';
}

const TONES = { running: 'good', failing: 'warn', paused: 'warn', stopped: 'bad' };

function card(key, title, word, tone, pairs) {
  const node = h('section', { class: `card is-${tone}` },
    h('h2', null, title, ' ', h('span', { class: 'word' }, word)),
    h('dl', { class: 'facts' }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== '').map(([name, value]) => [h('dt', null, name), h('dd', null, value)])));
  node.dataset.key = key;
  return node;
}

function durable(live) {
  const { waiting, pause } = live;
  return card(live.durable, live.durable, live.condition, TONES[live.condition], [
    ['rate', `${live.per_second ?? 0}/s`],
    ['waiting', count(waiting?.count ?? live.pending ?? 0)],
    ['oldest', waiting?.oldest_ms ? duration(waiting.oldest_ms) : null],
    ['not delivered', live.pending],
    ['in hand', live.in_hand],
    ['delivered again', live.redelivered || null],
    ['failing', live.failing ? failing(live) : null],
    ['last error', live.last_error],
    ['replicas', live.replicas],
    ['paused', pause && [pause.service ?? (pause.foreign ? 'by hand' : ''), pause.until && ` until ${clock(pause.until)}`]],
    ['trouble', live.error],
  ]);
}

function service(one) {
  const forced = one.override;
  return card(`service-${one.service}`, one.service, forced?.mode ?? one.phase, one.phase === 'flowing' ? 'good' : 'bad', [
    ['outside service', one.required_by.join(', ')],
    ['since', one.since && one.reason !== 'start' ? `${clock(one.since)}` : null],
    ['reason', forced?.reason ?? one.reason],
    ['by', forced?.by ?? one.by],
    ['until', forced?.until && clock(forced.until)],
  ]);
}

// Times are the broker's, as `now` is.
function inHand(about, replicas, now) {
  if (replicas.length === 0) return [h('p', { class: 'empty' }, 'No replica answers.')];
  const held = replicas.flatMap((replica) => replica.held.map((one) => ({ ...one, instance: replica.instance })));
  const total = replicas.reduce((sum, one) => sum + one.held_total, 0);
  const lines = [h('p', { class: 'hint' }, `${plural(replicas.length, 'replica')}: ${replicas.map((one) => one.instance).join(', ')}. ${total === 0 ? 'No message waits or has failed.' : `${plural(total, 'message')} in hand${total > held.length ? `, ${held.length} of them shown` : ''}.`}`)];
  if (held.length === 0) return lines;
  const heads = ['id', 'durable', 'attempt', 'last error', 'since', 'next try'];
  return [...lines, h('div', { class: 'table' }, h('table', null,
    h('thead', null, h('tr', null, heads.map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', null, held.slice(0, 50).map((one) => h('tr', null,
      h('th', { scope: 'row' }, h('a', { href: `/${about.many}/${encodeURIComponent(one.saga)}` }, one.saga)),
      h('td', null, one.durable), h('td', { class: 'number' }, one.attempt), h('td', { class: 'no' }, one.last_error ?? ''),
      h('td', null, clock(one.since)), h('td', null, nextTry(one.next_try, now)))))))];
}
