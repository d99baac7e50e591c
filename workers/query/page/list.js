// A list, whose filters are in the address only, and what the search finds.

import { address, get } from './api.js';
import { arrange, badge, clock, date, details, duration, h, plural, trouble } from './dom.js';
import * as commands from './commands.js';

const STATES = ['open', 'parked', 'cancelling', 'completed', 'cancelled'];
const ORDERS = ['newest', 'oldest', 'worst'];
// Said by the page itself, not by a field.
const HIDDEN = ['order', 'limit', 'after', 'min_seq', 'wait'];
const EVERY = 800;

const fieldsOf = (about) => about.filters.filter((one) => !HIDDEN.includes(one.name));

// Runs at most once at a time and now and then, the last time after the last call.
export function refresher(load) {
  let timer = null;
  let busy = false;
  let again = false;
  let stopped = false;
  const run = async () => {
    timer = null;
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    await load();
    busy = false;
    if (again && !stopped) {
      again = false;
      later();
    }
  };
  const later = () => { if (!stopped) timer ??= setTimeout(run, EVERY); };
  later.stop = () => { stopped = true; clearTimeout(timer); };
  return later;
}

export function table(about, nothing = 'None.') {
  const rows = h('tbody', null);
  const empty = h('p', { class: 'empty', hidden: true }, nothing);
  const node = h('div', { class: 'table' }, h('table', null,
    h('thead', null, h('tr', null, ['id', 'state', 'opened', 'waits for', 'for', 'reason', 'took', ''].map((name) =>
      h('th', { scope: 'col' }, name || h('span', { class: 'unseen' }, 'details'))))), rows), empty);
  return {
    node,
    show: (found) => {
      arrange(rows, found.map((one) => row(about, one)));
      node.firstChild.hidden = found.length === 0;
      empty.hidden = found.length > 0;
    },
  };
}

// Today's without their date.
function opened(time) {
  const day = date(time);
  return day === date(new Date()) ? clock(time).slice(0, 8) : day;
}

function row(about, one, by) {
  const to = `/${about.many}/${encodeURIComponent(one.id)}`;
  // What is asked of the workers, where a list is of that.
  const held = (one.held ?? []).map((it) => ['in hand', `${it.worker}, attempt ${it.attempt}${it.last_error ? `: ${it.last_error}` : ''}`]);
  const tells = [...details(one.details), ...held];
  return h('tr', { 'data-key': one.id, 'data-row': true },
    h('th', { scope: 'row' }, h('a', { href: to }, one.id), by && h('small', null, ` ${by}`)),
    h('td', null, badge(one.state)),
    h('td', { class: 'number', 'data-name': 'opened', title: one.opened_at }, opened(one.opened_at)),
    h('td', { 'data-name': 'waits for' }, one.waits_for ?? ''),
    h('td', { class: 'number', 'data-name': 'for', title: one.waits_since }, one.waits_for ? duration(one.waits_ms) : ''),
    h('td', { 'data-name': 'reason', class: 'no', title: one.why?.sentence }, one.reason ?? one.why?.code ?? ''),
    h('td', { class: 'number', 'data-name': 'took', title: one.waits_for ? 'since its opening' : 'from its opening to its end' }, duration(one.age_ms), one.waits_for && ' so far'),
    h('td', { class: 'tells' }, tells.map(([name, value]) => h('span', { title: name }, value))));
}

export async function list({ about, parameters, go }) {
  const path = `/${about.many}`;
  const fields = fieldsOf(about);
  const body = table(about);
  const first = !parameters.after;
  const counted = h('b', null);
  const pages = h('p', { class: 'more' });
  const news = h('p', { class: 'news', role: 'status' });
  const problem = h('div', null);
  let since = 0;
  // The last answer was a problem, so the next sign of life asks again.
  let stale = false;
  const load = async () => {
    try {
      const page = await get(path, parameters);
      body.show(page[about.many]);
      counted.textContent = page.count?.text ?? '';
      const link = (after, text, rel) => h('a', { href: address(path, { ...parameters, after }), rel }, text);
      pages.replaceChildren(...[
        !first && link('', 'First page'),
        page.next && link(page.next, 'Next page', 'next'),
      ].filter(Boolean));
      problem.replaceChildren();
      stale = false;
    } catch (error) {
      stale = true;
      if (error.status === 400) throw error;
      problem.replaceChildren(trouble(error));
    }
  };
  // A mistake in the address is shown beside the filters.
  try {
    await load();
  } catch (error) {
    problem.replaceChildren(trouble(error));
  }
  const refresh = refresher(() => load().catch(() => {}));
  const node = h('div', null,
    h('h1', null, counted, ' ', about.many),
    filters(about, fields, parameters, go),
    problem, news, body.node, pages);
  const command = commands.list(about, { ...parameters, after: undefined });
  const closed = () => refresh.stop();
  return {
    node,
    title: about.many,
    command: first ? command : commands.list(about, parameters),
    close: closed,
    see: (messages) => {
      const changes = messages.filter((message) => message.kind === 'transition');
      if (stale && messages.some((message) => message.kind === 'heartbeat')) refresh();
      if (first) {
        if (changes.length > 0 || messages.some((message) => ['resync', 'again'].includes(message.kind))) refresh();
        return;
      }
      // Rows that a reader looks at do not move away.
      since += changes.filter((change) => change.data.slot === about.flow.opens.slot).length;
      if (since > 0) {
        news.replaceChildren(`${plural(since, 'new one', 'new')} since this page was read · `,
          h('a', { href: address(path, { ...parameters, after: '' }) }, 'First page'));
      }
    },
  };
}

function filters(about, fields, parameters, go) {
  const options = (values, chosen, any) => [
    any && h('option', { value: '' }, any),
    ...values.map((value) => h('option', { value, selected: value === chosen }, value)),
  ];
  const chosen = { ...(parameters.why && { order: 'worst' }), ...parameters };
  const choice = (name, values, any) => h('label', null, name.replaceAll('_', ' '),
    h('select', { name }, options(values, chosen[name], any)));
  const workers = about.flow.steps.map((one) => one.worker);
  const input = (field) => h('label', { title: field.about }, field.name.replaceAll('_', ' '),
    h('input', { name: field.name, value: parameters[field.name] ?? '', placeholder: field.example, autocomplete: 'off', spellcheck: 'false' }));
  const simple = { state: STATES, waits_for: workers };
  const rest = fields.filter((field) => !simple[field.name]);
  const open = rest.some((field) => parameters[field.name]);
  const form = h('form', { class: 'filters', action: `/${about.many}`, 'aria-label': 'Filters' },
    choice('state', STATES, 'any'),
    choice('waits_for', workers, 'any'),
    choice('order', ORDERS),
    h('details', { open }, h('summary', null, 'More filters'), h('div', { class: 'fields' }, rest.map(input))),
    h('button', { type: 'submit' }, 'Filter'),
    Object.keys(parameters).length > 0 && h('a', { href: `/${about.many}` }, 'Clear'));
  const apply = (event) => {
    event.preventDefault();
    const wanted = Object.fromEntries(new FormData(form));
    // The usual order; of those that wait for a reason it is another one.
    if (wanted.order === 'newest') wanted.order = '';
    go(address(`/${about.many}`, wanted));
  };
  form.addEventListener('submit', apply);
  form.addEventListener('change', (event) => { if (event.target.matches('select')) apply(event); });
  return form;
}

export async function find({ about, parameters, go }) {
  const text = parameters.q ?? '';
  document.getElementById('search').q.value = text;
  const answer = await get('/find', { q: text });
  // What many may share, such as a customer, finds a list.
  const exact = answer.found.filter((one) => one.exact);
  if (exact.length === 1 && !fieldsOf(about).some((one) => one.name === exact[0].by)) {
    history.replaceState(null, '', `/${about.many}/${encodeURIComponent(exact[0].id)}`);
    queueMicrotask(() => go(location.pathname));
  }
  const body = table(about);
  const rows = answer.found.map((one) => row(about, one.saga ?? { id: one.id, state: 'unknown', details: {} },
    one.by === about.saga ? null : `${one.by} ${one.value}`));
  arrange(body.node.querySelector('tbody'), rows);
  body.node.firstChild.hidden = rows.length === 0;
  const node = h('div', null,
    h('h1', null, h('b', null, plural(rows.length, 'match', 'matches')), ` for “${text}”`, answer.more ? ', and perhaps more' : ''),
    rows.length === 0 && h('p', { class: 'empty' }, 'Nothing is known by that: an id, or what one begins with; a customer, a reference, an event id, a trace, or a sequence of the log.'),
    body.node);
  return { node, title: `“${text}”`, command: commands.find(about, text) };
}
