// What may be asked for: the command worker answers, and its mistakes are shown with their pointers.

import { post, setToken, token, unique } from './api.js';
import { h, trouble } from './dom.js';
import * as commands from './commands.js';

// Asks once for what is missing: the token.
function tokenField() {
  if (token()) return null;
  return h('label', null, 'Token',
    h('input', { name: 'token', type: 'password', required: true, autocomplete: 'off' }),
    h('small', { class: 'hint' }, 'Acting needs the token that the service printed when it started; open the address that it printed, or paste the token here.'));
}

function keepToken(form) {
  if (form.token) setToken(form.token.value);
}

// A token that is refused is asked for again.
function failed(problem) {
  if (problem.status === 401) setToken('');
  return trouble(problem);
}

export async function place({ about, go, frame, parameters }) {
  const verb = about.verbs.find((one) => !one.of_one);
  if (!verb) throw { title: 'nothing is changed here', detail: 'this service only reads' };
  const sample = parameters.like ?? verb.sample.trim();
  const text = h('textarea', { name: 'body', rows: '22', spellcheck: 'false', 'aria-label': 'JSON', required: true }, sample);
  const said = h('div', { 'aria-live': 'polite' });
  const button = h('button', { type: 'submit' }, verb.about);
  const access = h('div', null, tokenField());
  // The same until it is taken, so that a second click places nothing twice.
  let key = unique();
  const form = h('form', { class: 'place' },
    h('h1', null, verb.about),
    h('p', { class: 'hint' }, 'The command worker checks it and tells every mistake at once. Ctrl+Enter sends it.'),
    text, access, said, h('p', { class: 'row' }, button));
  const view = { node: form, title: verb.about, command: null };
  const command = () => {
    let body = text.value;
    try {
      body = JSON.stringify(JSON.parse(body));
    } catch {
      // Shown as it is.
    }
    view.command = commands.act(about, verb, body);
  };
  text.addEventListener('input', () => { key = unique(); command(); frame(); });
  text.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    keepToken(form);
    button.disabled = true;
    try {
      const placed = await post(verb.path, { body: text.value, headers: { 'idempotency-key': key } });
      const { id } = placed;
      go(`/${about.many}/${encodeURIComponent(id)}`);
    } catch (problem) {
      said.replaceChildren(failed(problem));
      access.replaceChildren(...[tokenField()].filter(Boolean));
    }
    button.disabled = false;
  });
  command();
  return view;
}

// A button for each command about this one, while it is on its way.
export function verbs(about, told) {
  if (told.state !== 'open' && told.state !== 'parked') return null;
  const possible = about.verbs.filter((one) => one.of_one);
  return possible.length === 0 ? null : h('div', { class: 'verbs' }, possible.map((verb) => {
    const said = h('div', { 'aria-live': 'polite' });
    const access = h('span', null);
    const body = JSON.stringify({ [verb.of_one]: told.id });
    const form = h('form', { class: 'verb' },
      h('button', { type: 'submit', class: 'danger' }, verb.about),
      h('code', null, commands.act(about, verb, body)), access, said);
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      keepToken(form);
      if (!token()) {
        access.replaceChildren(tokenField());
        form.token.focus();
        return;
      }
      try {
        await post(verb.path.replace('{id}', encodeURIComponent(told.id)), { headers: { 'idempotency-key': unique() } });
        said.textContent = 'Asked for; the story below says what came of it.';
      } catch (problem) {
        said.replaceChildren(failed(problem));
        access.replaceChildren(...[tokenField()].filter(Boolean));
      }
    });
    return form;
  }));
}
