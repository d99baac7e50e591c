// One saga: where it stands and why, what really happened, and each event as the log has it.

import { get } from './api.js';
import { badge, clock, copy, date, details, duration, h, prose, short, trouble } from './dom.js';
import * as commands from './commands.js';
import { json, story } from './story.js';
import { refresher } from './list.js';
import { verbs } from './act.js';

export async function one({ about, parameters, frame }, id, sequence) {
  const path = `/${about.many}/${encodeURIComponent(id)}`;
  const at = parameters.at;
  let told = await get(path, { at, min_seq: parameters.min_seq });
  // What `why` says of one that waits. It looks at workers and breakers, so it comes a little later.
  let reason = null;
  let selected = sequence;
  const head = h('div', null);
  const because = h('div', null);
  const actions = h('div', null);
  let offered = null;
  const figure = story(about, (event) => `${path}/events/${event.sequence}${at ? `?at=${at}` : ''}`);
  const side = h('aside', { class: 'side', 'aria-label': 'One event' });
  const node = h('div', { class: 'one' }, head, because, actions, h('div', { class: 'columns' }, figure.node, side));
  const view = { node, title: id, command: null };

  const show = () => {
    head.replaceChildren(...heading(about, told));
    because.replaceChildren(...whyOf(about, told, reason, at, because));
    // What is typed there stays while the story goes on.
    if (offered !== told.state) actions.replaceChildren(...[!at && verbs(about, told)].filter(Boolean));
    offered = told.state;
    figure.show(told, selected);
    view.command = [
      at ? commands.asOf(about, id, at) : commands.trace(id),
      !at && told.waits_for && commands.why(id),
      selected && commands.payload(about, id, selected),
    ].filter(Boolean);
  };
  const ask = async () => {
    const waits = !at && told.waits_for;
    reason = waits ? await get(`${path}/why`).catch(() => null) : null;
    because.replaceChildren(...whyOf(about, told, reason, at, because));
  };
  const showEvent = async () => {
    if (!selected) {
      side.replaceChildren(...summary(about, told));
      return;
    }
    const wanted = selected;
    try {
      const event = await get(`${path}/events/${wanted}`);
      const line = told.events.find((one) => String(one.sequence) === String(wanted));
      if (wanted === selected) side.replaceChildren(...payload(path, event, line, at));
    } catch (problem) {
      if (wanted === selected) side.replaceChildren(trouble(problem));
    }
  };
  const load = async () => {
    try {
      told = await get(path, { at });
      show();
      if (!selected) await showEvent();
      frame();
      await ask();
    } catch {
      // It is read again with the next change, or once the service is back.
    }
  };
  const refresh = refresher(load);
  show();
  await showEvent();
  ask();
  return Object.assign(view, {
    close: refresh.stop,
    // Another event of the same one: the page stays where it is.
    moved: (to, given) => {
      const parts = to.split('/').filter(Boolean);
      const same = `/${parts[0]}/${parts[1]}` === path && given.at === at;
      if (!same || (parts.length !== 2 && parts[2] !== 'events')) return false;
      selected = parts[3] ?? null;
      show();
      showEvent().then(() => {
        if (selected && side.getBoundingClientRect().top > innerHeight - 80) side.scrollIntoView({ block: 'nearest' });
      });
      return true;
    },
    see: (messages) => {
      const mine = messages.some((message) => message.kind === 'transition' && message.data.id === id);
      if (!at && (mine || messages.some((message) => ['resync', 'again'].includes(message.kind)))) refresh();
      else if (told.waits_for && messages.some((message) => message.kind === 'heartbeat')) ask();
    },
  });
}

// Where it stands, in one sentence, until `why` has looked.
function stands(told) {
  const waits = told.waits_for;
  const turn = told.turned_by;
  const turned = turn && `${turn.by} said no at ${turn.slot}${turn.reason ? ` (${turn.reason})` : ''}`;
  const since = waits && `, since ${date(waits.since)} ${clock(waits.since)}`;
  switch (told.state) {
    case 'completed': return `Completed${told.took_ms === null ? '' : ` in ${duration(told.took_ms)}`}.`;
    case 'cancelled': return `Cancelled: ${turned ?? 'it was turned around'}; all that was done is taken back.`;
    case 'cancelling': return `Being taken back: ${turned ?? 'it was turned around'}.${waits ? ` ${waits.worker} is to write ${waits.slot} next${since}.` : ''}`;
    case 'parked': return `Set aside for a human: ${waits ? `${waits.worker} parked what it would react to next` : 'see below'}.`;
    case 'open': return waits ? `On its way: ${waits.worker} is to write ${waits.slot} next${since}.` : 'On its way.';
    default: return 'Its opening is not in the log, so what is there counts for nothing.';
  }
}

function whyOf(about, told, reason, at, before) {
  // Only of the state that is shown.
  const known = told.waits_for && reason?.waits_for?.slot === told.waits_for.slot ? reason : null;
  const waits = told.waits_for;
  const wasOpen = before.querySelector('details')?.open;
  return [
    h('p', { class: `why is-${told.state}`, 'data-code': known?.code }, known ? prose(known.sentence) : stands(told),
      waits && [' ', h('a', { href: `/steps/${encodeURIComponent(waits.worker)}` }, `See ${waits.worker}`)]),
    known && h('details', { class: 'looked', open: wasOpen }, h('summary', null, 'What was looked at'),
      h('ul', null, known.looked_at.map((one) => h('li', null, prose(one))))),
    at && h('p', { class: 'news' }, `As of ${at}. `, h('a', { href: `/${about.many}/${encodeURIComponent(told.id)}` }, 'See it as it is now')),
  ].filter(Boolean);
}

function heading(about, told) {
  return [
    h('p', { class: 'crumb' }, h('a', { href: `/${about.many}` }, about.many)),
    h('h1', null, h('span', { class: 'id' }, told.id), ' ', badge(told.state), ' ', copy(told.id, 'copy id')),
    told.parked.length > 0 && h('ul', { class: 'parked' }, told.parked.map((one) => h('li', null,
      h('strong', null, 'Set aside'), ` by ${one.durable}: `, h('code', null, one.reason ?? ''), ` message ${one.sequence}`))),
  ].filter(Boolean);
}

function facts(pairs) {
  return h('dl', { class: 'facts' }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== '').map(([name, value]) =>
    [h('dt', null, name), h('dd', null, value)]));
}

function summary(about, told) {
  const first = told.events.find((one) => one.slot === about.flow.opens.slot);
  return [
    h('h2', null, 'What is known'),
    facts([
      ['events', told.events.length],
      ['opened', first && `${date(first.stored_at)} ${clock(first.stored_at)}`],
      [told.waits_for ? 'took so far' : 'took', duration(told.age_ms ?? told.took_ms)],
      ['turned at', told.turned_by && `${told.turned_by.slot}, by ${told.turned_by.by}`],
      ['reason', told.turned_by?.reason],
    ]),
    h('p', { class: 'hint' }, 'Choose an event to see what the log holds.'),
  ];
}

function payload(path, event, line, at) {
  const text = event.payload === null ? event.text ?? `${event.base64} (base64)` : null;
  return [
    h('div', { class: 'side-head' },
      h('h2', null, short(line?.type ?? '')),
      h('a', { href: at ? `${path}?at=${at}` : path, 'aria-label': 'Close the event' }, 'close')),
    facts([
      ['subject', h('code', null, event.subject)],
      ['sequence', event.sequence],
      ['stored', `${date(event.stored_at)} ${clock(event.stored_at)}`],
      ['by', line?.source],
      ['reason', line?.reason],
      ['because of', line?.cause && h('a', { href: `${path}/events/${line.cause.sequence}` }, line.cause.slot ?? String(line.cause.sequence))],
      ['waited', line?.wait_ms !== null && line?.wait_ms !== undefined ? duration(line.wait_ms) : null],
      ['worked', line?.work_ms !== null && line?.work_ms !== undefined ? duration(line.work_ms) : null],
      ['attempt', line?.attempt],
    ]),
    h('p', { class: 'row' },
      copy(() => commands.publish(event), 'copy as nats pub'),
      copy(() => JSON.stringify(event.payload ?? event.text, null, 2), 'copy JSON'),
      h('a', { href: `${path}?at=${event.sequence}` }, 'as of this event')),
    h('pre', { class: 'json', tabindex: '0', 'aria-label': 'Payload' }, text === null ? json(event.payload) : text),
  ];
}
