// Questions to the service that served this page.

const KEEP = 'quadrille-token';

// The address that the service printed has the token behind a `#`, which no server ever sees.
export function takeToken() {
  const given = /[#&]token=([^&]+)/.exec(location.hash);
  if (!given) return;
  setToken(decodeURIComponent(given[1]));
  history.replaceState(history.state, '', location.pathname + location.search);
}

export const token = () => localStorage.getItem(KEEP) ?? '';

export function setToken(text) {
  if (text) localStorage.setItem(KEEP, text.trim());
  else localStorage.removeItem(KEEP);
}

// A problem document (RFC 9457), thrown.
export class Problem extends Error {
  constructor(document) {
    super(document.detail ?? document.title);
    Object.assign(this, document);
  }
}

export function address(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters ?? {})) {
    if (value !== undefined && value !== null && value !== '') query.set(name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

async function ask(method, path, { body, headers, signal } = {}) {
  let answer;
  const sent = { accept: 'application/json', ...headers };
  if (token()) sent.authorization = `Bearer ${token()}`;
  if (body !== undefined) sent['content-type'] = 'application/json';
  try {
    answer = await fetch(path, { method, body, signal, headers: sent, cache: 'no-store' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem({ status: 0, title: 'no answer', detail: 'The service that shows this page does not answer; the page tries again.' });
  }
  const text = await answer.text();
  let read = {};
  try {
    read = text ? JSON.parse(text) : {};
  } catch {
    read = { detail: text.slice(0, 200) };
  }
  if (!answer.ok) throw new Problem({ status: answer.status, title: `status ${answer.status}`, ...read });
  return read;
}

export const get = (path, parameters, options) => ask('GET', address(path, parameters), options);

export const post = (path, options) => ask('POST', path, options);

// Text that no other request has; the same for each try of one request.
export function unique() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
