// What really happened, as a sequence diagram: a column for each who wrote something, a row for
// each event, an arrow from the one it reacted to. What is still to come is grey.

import { arrange, clock, duration, h, short, svg } from './dom.js';

const ROW = 44;
// The width at which every participant has a column of its own.
const WIDE = 620;
const LANE = 15;
// The column of times, as in the style sheet.
const BEFORE = 100;

export function story(about, link) {
  const heads = h('div', { class: 'lanes-head', 'aria-hidden': 'true' });
  const picture = svg('svg', { class: 'edges', 'aria-hidden': 'true' });
  const rows = h('ol', { class: 'rows', 'aria-label': 'What happened, in the order of the log' });
  const lanes = h('div', { class: 'lanes' }, picture, rows);
  const node = h('figure', { class: 'story' }, heads, lanes);
  let shown = null;
  const draw = () => shown && render({ about, link, heads, picture, rows, node, ...shown });
  const watch = new ResizeObserver(draw);
  watch.observe(node);
  return { node, show: (told, selected) => { shown = { told, selected }; draw(); } };
}

// Those who wrote something or will, in the order of the flow, a client first.
function participants(about, told, ghosts) {
  const names = about.flow.steps.map((step) => step.worker);
  const all = [...told.events.map((event) => event.source || '?'), ...ghosts.map((ghost) => ghost.source)];
  const strangers = [...new Set(all)].filter((name) => !names.includes(name));
  return [...strangers, ...names];
}

// What is still to be written, as the flow table says it.
function remaining({ flow }, told) {
  const has = (slot) => told.events.some((event) => event.slot === slot && event.kind !== 'alien');
  const ghost = (slot, type, source, kind) => ({ slot, type, source, kind, ghost: true });
  const left = [];
  if (told.state === 'open' || told.state === 'parked') {
    for (const step of flow.steps) {
      if (has(step.slot)) continue;
      if (step.pivot && !has(step.pivot.slot)) left.push(ghost(step.pivot.slot, step.pivot.go, step.worker, 'forward'));
      left.push(ghost(step.slot, step.done, step.worker, 'forward'));
    }
  } else if (told.state === 'cancelling') {
    if (!has(flow.turns.slot)) left.push(ghost(flow.turns.slot, flow.turns.event, told.turned_by?.by ?? '?', 'refusal'));
    for (const step of [...flow.steps].reverse()) {
      if (step.undo && has(step.slot) && !has(step.undo.slot)) left.push(ghost(step.undo.slot, step.undo.events.map(short).join(' or '), step.worker, 'undo'));
    }
    const closing = flow.steps.find((step) => step.cancelled);
    if (!has(closing.slot)) left.push(ghost(closing.slot, closing.cancelled, closing.worker, 'undo'));
  }
  return left;
}

function render({ about, link, heads, picture, rows, node, told, selected }) {
  const ghosts = remaining(about, told);
  const names = participants(about, told, ghosts);
  const all = [...told.events, ...ghosts];
  const style = getComputedStyle(rows);
  const area = rows.clientWidth - parseFloat(style.getPropertyValue('--before')) - parseFloat(style.getPropertyValue('--after'));
  const wide = rows.clientWidth >= WIDE;
  node.classList.toggle('is-wide', wide);
  const before = wide ? parseFloat(style.getPropertyValue('--before')) : 0;
  // On the right is room for the words of the last column.
  const gap = wide ? Math.max(70, (area - 120) / names.length) : LANE;
  const x = (name) => Math.round(before + (wide ? 14 : LANE / 2) + Math.max(0, names.indexOf(name)) * gap);
  const y = (at) => at * ROW + ROW / 2;
  const width = wide ? before + area : names.length * LANE + 4;

  heads.replaceChildren(...(wide ? names.map((name) => {
    const head = h('span', null, name);
    head.style.left = `${x(name)}px`;
    head.style.width = `${gap - 8}px`;
    return head;
  }) : []));

  picture.setAttribute('width', width);
  picture.setAttribute('height', all.length * ROW);
  const drawn = names.map((name) => svg('line', { class: 'life', x1: x(name), x2: x(name), y1: 0, y2: all.length * ROW }));
  // What comes next follows from the last event that counts, not from a wish or from junk.
  const moves = [about.flow.opens, about.flow.turns, ...about.flow.steps.flatMap((step) => [step, step.pivot, step.undo])].map((one) => one?.slot);
  const last = told.events.findLastIndex((event) => event.kind !== 'alien' && moves.includes(event.slot));
  const follows = (at) => (at > told.events.length ? at - 1 : last);
  const bySequence = new Map(told.events.map((event, at) => [event.sequence, { event, at }]));
  all.forEach((event, at) => {
    const cause = event.ghost ? (follows(at) >= 0 ? { event: all[follows(at)], at: follows(at) } : null) : event.cause && bySequence.get(event.cause.sequence);
    if (cause) drawn.push(...edge(x(cause.event.source || '?'), y(cause.at), x(event.source || '?'), y(at), event));
  });
  all.forEach((event, at) => drawn.push(svg('circle', {
    class: `dot is-${event.kind}${event.ghost ? ' is-ghost' : ''}`, cx: x(event.source || '?'), cy: y(at), r: 5,
  })));
  picture.replaceChildren(...drawn);

  const total = Math.max(1, ...told.events.map((event) => event.since_placed_ms ?? 0));
  arrange(rows, all.map((event, at) => item({ event, at, link, selected, total, wide, x, width, bySequence })));
}

// Down along the column of the cause, then across.
function edge(x1, y1, x2, y2, event) {
  const kind = `edge is-${event.kind}${event.ghost ? ' is-ghost' : ''}`;
  if (x1 === x2) return [svg('path', { class: kind, d: `M${x1} ${y1}V${y2 - 6}` })];
  const way = x2 > x1 ? 1 : -1;
  const bend = Math.min(8, Math.abs(x2 - x1));
  const end = x2 - way * 7;
  return [
    svg('path', { class: kind, d: `M${x1} ${y1}V${y2 - bend}Q${x1} ${y2} ${x1 + way * bend} ${y2}H${end}` }),
    svg('path', { class: `${kind} head`, d: `M${end - way * 5} ${y2 - 4}L${end} ${y2}L${end - way * 5} ${y2 + 4}` }),
  ];
}

function item({ event, at, link, selected, total, wide, x, width, bySequence }) {
  const name = event.ghost && !event.type.includes('.v') ? event.type : short(event.type);
  const cause = event.cause && bySequence.get(event.cause.sequence)?.event;
  const label = h('span', { class: 'label' }, name, event.reason && h('small', { class: 'no' }, ` ${event.reason}`),
    !wide && h('small', { class: 'by' }, event.source));
  const here = x(event.source || '?');
  // Where the arrow comes from the right, the words are on the left, or behind its beginning.
  const fromRight = wide && cause && x(cause.source || '?') > here;
  const goesLeft = fromRight && here - BEFORE > name.length * 7;
  const from = fromRight ? x(cause.source || '?') : here;
  if (wide) {
    if (goesLeft) label.style.right = `calc(100% - ${here - 12}px)`;
    else label.style.left = `${from + 12}px`;
  } else label.style.paddingLeft = `${width + 4}px`;
  const inside = [
    h('span', { class: 'when' }, event.ghost ? 'to come' : event.since_placed_ms ? `+${duration(event.since_placed_ms)}` : clock(event.stored_at).slice(0, 8)),
    label,
    event.ghost ? h('span', { class: 'bar' }) : bar(event, total),
  ];
  const also = [
    wide && `by ${event.source}`, event.kind === 'undo' && 'takes back',
    cause && `because of ${short(cause.type)}`,
    event.wait_ms !== null && event.wait_ms !== undefined && `waited ${duration(event.wait_ms)}, worked ${duration(event.work_ms)}`,
  ].filter(Boolean).join(', ');
  inside.splice(2, 0, h('span', { class: 'unseen' }, ` ${also}`));
  const kind = `row-of is-${event.kind}`;
  const row = event.ghost
    ? h('li', { class: `${kind} is-ghost` }, h('span', { class: 'cells' }, inside))
    : h('li', { class: kind, 'data-row': true }, h('a', {
      class: 'cells', href: link(event),
      'aria-current': String(event.sequence) === String(selected) ? 'true' : null,
    }, inside));
  row.dataset.key = event.ghost ? `ghost-${event.slot}` : String(event.sequence);
  row.style.setProperty('--at', at);
  return row;
}

// When it waited and when it worked, on the time axis of the whole.
function bar(event, total) {
  const end = event.since_placed_ms ?? 0;
  const work = event.work_ms ?? 0;
  const wait = event.wait_ms ?? 0;
  const node = h('span', { class: 'bar' });
  if (event.wait_ms === null || event.wait_ms === undefined) return node;
  const part = (kind, from, long) => {
    const piece = h('i', { class: kind });
    piece.style.left = `${(Math.max(0, from) / total) * 100}%`;
    piece.style.width = `max(2px, ${(Math.min(long, total) / total) * 100}%)`;
    return piece;
  };
  node.append(part('wait', end - work - wait, wait), part('work', end - work, work));
  node.title = `waited ${duration(wait)}, worked ${duration(work)}`;
  return node;
}

// JSON in lines and colours.
export function json(value, indent = '') {
  const deeper = `${indent}  `;
  if (value === null || typeof value !== 'object') {
    return [h('span', { class: `j-${value === null ? 'null' : typeof value}` }, JSON.stringify(value))];
  }
  const isList = Array.isArray(value);
  const entries = isList ? value.map((one) => [null, one]) : Object.entries(value);
  if (entries.length === 0) return [isList ? '[]' : '{}'];
  const lines = entries.map(([name, one], at) => [
    `\n${deeper}`, name !== null && [h('span', { class: 'j-name' }, JSON.stringify(name)), ': '],
    json(one, deeper), at < entries.length - 1 && ',',
  ]);
  return [isList ? '[' : '{', ...lines, `\n${indent}`, isList ? ']' : '}'].flat(9).filter((one) => one !== false && one !== null);
}
