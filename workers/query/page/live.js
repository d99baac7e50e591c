// What happens, as it happens. A browser opens six connections to one origin, so all tabs share one
// EventSource: the tab that holds the lock reads, and tells the others. A hidden tab reads nothing.

import { get } from './api.js';

const LOCK = 'quadrille-live';
// The service says that it is alive every few seconds; after this long it is asked again.
const SILENCE = 16e3;
const AGAIN = 700;
// How long a view that shows the flow keeps it asked for.
const WANTED = 3e3;

const channel = 'BroadcastChannel' in window ? new BroadcastChannel(LOCK) : null;
const listeners = new Set();
const buffer = [];

let source = null;
let release = null;
let waiting = null;
let last = null;
let lastSequence = -1;
let heardAt = Date.now();
let connected = null;
let wantedUntil = 0;
let polling = false;

export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

// Views that show the flow say so now and then.
export function wantFlow() {
  wantedUntil = Date.now() + WANTED;
  channel?.postMessage({ kind: 'want' });
  poll();
}

export function start() {
  channel?.addEventListener('message', ({ data }) => {
    if (data.kind === 'want') {
      wantedUntil = Date.now() + WANTED;
      poll();
    } else if (data.kind === 'hello') {
      if (source?.readyState === EventSource.OPEN) channel.postMessage({ kind: 'state', connected: true });
    } else if (!document.hidden) take(data);
  });
  document.addEventListener('visibilitychange', () => (document.hidden ? rest() : wake(true)));
  addEventListener('pagehide', rest);
  addEventListener('pageshow', (event) => event.persisted && wake(true));
  setInterval(() => {
    if (document.hidden || Date.now() - heardAt < SILENCE) return;
    take({ kind: 'state', connected: false });
    if (source) reopen();
  }, 2e3);
  channel?.postMessage({ kind: 'hello' });
  if (!document.hidden) wake(false);
}

function wake(again) {
  heardAt = Date.now();
  // What happened meanwhile is read, not replayed.
  if (again) flush([{ kind: 'resync' }]);
  if (release || waiting) return;
  if (!navigator.locks) {
    release = () => {};
    open();
    return;
  }
  waiting = new AbortController();
  navigator.locks.request(LOCK, { signal: waiting.signal }, () => new Promise((done) => {
    waiting = null;
    release = done;
    open();
    poll();
  })).catch(() => {});
}

function rest() {
  waiting?.abort();
  waiting = null;
  source?.close();
  source = null;
  release?.();
  release = null;
}

function open() {
  if (!release) return;
  source = new EventSource(last ? `/events?after=${encodeURIComponent(last)}` : '/events');
  for (const kind of ['transition', 'heartbeat', 'resync']) {
    source.addEventListener(kind, (event) => tell({ kind, id: event.lastEventId, data: JSON.parse(event.data) }));
  }
  source.addEventListener('open', () => tell({ kind: 'state', connected: true }));
  source.addEventListener('error', reopen);
}

// The browser's own second try may take seconds, and gives up after an error.
function reopen() {
  source?.close();
  source = null;
  tell({ kind: 'state', connected: false });
  setTimeout(() => { if (release && !source) open(); }, AGAIN);
}

// For this tab and all others.
function tell(message) {
  if (navigator.locks) channel?.postMessage(message);
  take(message);
}

function take(message) {
  if (message.kind !== 'state') heardAt = Date.now();
  if (message.id) last = message.id;
  if (message.kind === 'transition') {
    // After a change of the reading tab one may come twice.
    if (message.data.sequence <= lastSequence) return;
    lastSequence = message.data.sequence;
  } else if (message.kind === 'resync') lastSequence = -1;
  if (message.kind !== 'state' && message.kind !== 'flow') setConnected(true);
  else if (message.kind === 'state') setConnected(message.connected);
  later(message);
}

// Some at once, because a busy log has many in a second.
function later(message) {
  if (buffer.push(message) === 1) setTimeout(() => flush(buffer.splice(0)), 60);
}

function setConnected(now) {
  // Whoever was not connected may have missed what happened.
  if (now && !connected) later({ kind: 'again' });
  connected = now;
}

function flush(messages) {
  for (const listener of listeners) listener(messages);
}

export const isConnected = () => connected;

// The reading tab asks for the flow as long as any tab shows it.
async function poll() {
  if (polling) return;
  polling = true;
  while (release && Date.now() < wantedUntil) {
    try {
      tell({ kind: 'flow', data: await get('/flow') });
      await sleep(100);
    } catch (problem) {
      tell({ kind: 'flow', problem: { ...problem, detail: problem.message } });
      await sleep(1e3);
    }
  }
  polling = false;
}

const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });
