// The frame around every view: the address decides what is shown, and nothing else does.

import { get, takeToken, token, setToken, post } from './api.js';
import { h, copy, count, trouble } from './dom.js';
import * as live from './live.js';
import { home } from './home.js';
import { list, find } from './list.js';
import { one } from './one.js';
import { step } from './step.js';
import { place } from './act.js';

const main = document.getElementById('main');
const bottom = document.getElementById('command');
const lag = document.getElementById('lag');
const state = document.getElementById('live');
const search = document.getElementById('search');

// What the service says of itself.
let about = null;
// What is shown now: { node, title, command, see(messages), close() }.
let view = null;
let turn = 0;

function route(path) {
  const parts = path.split('/').filter(Boolean).map(decode);
  const { many } = about;
  if (parts.length === 0) return (context) => home(context);
  if (parts[0] === 'find') return (context) => find(context);
  if (parts[0] === 'place') return (context) => place(context);
  if (parts[0] === 'steps' && parts[1]) return (context) => step(context, parts[1]);
  if (parts[0] === many && parts.length === 1) return (context) => list(context);
  if (parts[0] === many) return (context) => one(context, parts[1], parts[2] === 'events' ? parts[3] : null);
  return null;
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// Shows what the address says.
async function show({ keepFocus = false } = {}) {
  const mine = ++turn;
  const found = route(location.pathname);
  const parameters = Object.fromEntries(new URLSearchParams(location.search));
  // The same view may go on with another address, such as another event of the same one.
  if (view?.moved?.(location.pathname, parameters)) {
    frame();
    return;
  }
  const context = { about, parameters, go, frame: () => mine === turn && frame() };
  let next;
  main.setAttribute('aria-busy', 'true');
  try {
    if (!found) throw { title: 'no such page', detail: `there is nothing at ${location.pathname}` };
    next = await found(context);
  } catch (problem) {
    next = failed(problem);
  }
  if (mine !== turn) {
    next.close?.();
    return;
  }
  view?.close?.();
  view = next;
  main.replaceChildren(view.node);
  main.removeAttribute('aria-busy');
  frame();
  if (!keepFocus) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

// A view that cannot be shown is tried again when the service is back.
function failed(problem, retry = () => show({ keepFocus: true })) {
  const node = h('section', { class: 'narrow' }, problem.status === 401 ? askForToken() : trouble(problem));
  const again = problem.status === 0 || problem.status === 503;
  const timer = again && setTimeout(retry, 1500);
  return { node, title: problem.title, close: () => clearTimeout(timer), see: (messages) => {
    if (again && messages.some((message) => message.kind === 'again')) retry();
  } };
}

function askForToken() {
  const input = h('input', { name: 'token', type: 'password', 'aria-label': 'Token', autocomplete: 'off', required: true });
  return h('form', { class: 'card', submit: (event) => {
    event.preventDefault();
    setToken(input.value);
    begin();
  } }, h('h1', null, 'Who are you?'),
  h('p', null, 'This address is not only for this machine, so reading needs the token. The service printed it when it started; it is also in the file ', h('code', null, 'token'), ' of its folder.'),
  h('p', { class: 'row' }, input, h('button', { type: 'submit' }, 'Read')));
}

function frame() {
  document.title = `${view.title} · Quadrille`;
  const commands = [view.command].flat().filter(Boolean);
  bottom.replaceChildren(...commands.map((text) => h('span', null, h('code', { tabindex: '0' }, text), copy(text))));
  for (const link of document.querySelectorAll('#nav a')) {
    const here = new URL(link.href).pathname === location.pathname;
    if (here) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (location.pathname !== '/find') search.q.value = '';
}

export function go(address) {
  if (address !== location.pathname + location.search) history.pushState(null, '', address);
  show();
}

function showLag(asOf) {
  if (!asOf) return;
  const behind = asOf.behind > 0 ? `${count(asOf.behind)} behind` : 'up to date';
  const text = asOf.sequence === null ? 'rows are being built' : `rows as of ${count(asOf.sequence)}, ${behind}`;
  if (lag.textContent !== text) lag.textContent = text;
  lag.classList.toggle('is-bad', asOf.sequence === null || asOf.behind > 1000 || asOf.read_ms_ago > 5000);
}

function showState(connected) {
  const text = connected ? 'live' : 'reconnecting';
  if (state.textContent === text) return;
  state.textContent = text;
  state.classList.toggle('is-live', connected);
}

function hear(messages) {
  for (const message of messages) {
    if (message.data?.as_of) showLag(message.data.as_of);
  }
  showState(live.isConnected() === true);
  if (messages.some((message) => message.kind === 'again')) checkVersion();
  view?.see?.(messages);
}

// A service that came back with another page: this one is loaded again.
async function checkVersion() {
  const now = await get('/').catch(() => null);
  if (now && now.page !== about.page) location.reload();
}

document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href]');
  if (!about || !link || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || link.target) return;
  const to = new URL(link.href);
  if (to.origin !== location.origin || to.hash || !route(to.pathname)) return;
  event.preventDefault();
  go(to.pathname + to.search);
});

document.addEventListener('keydown', (event) => {
  const typing = event.target.closest?.('input,textarea,select,[contenteditable]');
  if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.q.focus();
    search.q.select();
  }
  // In a list, up and down go from row to row.
  const row = event.target.closest?.('[data-row]');
  if (row && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
    const rows = [...row.parentElement.querySelectorAll('[data-row]')];
    const next = rows[rows.indexOf(row) + (event.key === 'ArrowDown' ? 1 : -1)];
    if (next) {
      event.preventDefault();
      (next.matches('a') ? next : next.querySelector('a'))?.focus();
    }
  }
});

search.addEventListener('submit', (event) => {
  event.preventDefault();
  if (about) go(`/find?q=${encodeURIComponent(search.q.value.trim())}`);
});

addEventListener('popstate', () => about && show());

async function begin() {
  takeToken();
  try {
    if (token()) await post('/session').catch(() => null);
    about = await get('/');
  } catch (problem) {
    // Nothing is known yet, so the frame stays empty until the service answers.
    main.replaceChildren(failed(problem, begin).node);
    return;
  }
  const links = [['/', 'Now'], [`/${about.many}`, about.many[0].toUpperCase() + about.many.slice(1)]];
  if (about.verbs.some((verb) => !verb.of_one)) links.push(['/place', 'Place']);
  document.getElementById('nav').replaceChildren(...links.map(([to, text]) => h('a', { href: to }, text)));
  showLag(about.as_of);
  live.listen(hear);
  live.start();
  show();
}

begin();
