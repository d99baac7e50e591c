// Elements and words. Nothing that comes from the log is ever parsed as markup.

const SVG = 'http://www.w3.org/2000/svg';

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) => build(document.createElementNS(SVG, tag), attributes, children);

// Brings the children of `parent` into the order of `nodes`. A node is kept where its key and its
// text are the same, so that neither focus nor selection is lost while rows change.
export function arrange(parent, nodes) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (let node of nodes) {
    const before = old.get(node.dataset.key);
    old.delete(node.dataset.key);
    if (before && before.isEqualNode(node)) node = before;
    else if (before) {
      const focused = before.contains(document.activeElement);
      if (at === before) at = node;
      before.replaceWith(node);
      if (focused) (node.matches('a') ? node : node.querySelector('a,button'))?.focus({ preventScroll: true });
    }
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
  for (const gone of old.values()) gone.remove();
}

// 0.4 ms, 12 ms, 1.2 s, 3 min, 2 h, 5 d.
export function duration(ms) {
  if (ms === null || ms === undefined) return '';
  const size = Math.abs(ms);
  if (size < 10) return `${(+ms).toFixed(1)} ms`;
  if (size < 1000) return `${Math.round(ms)} ms`;
  if (size < 10e3) return `${(ms / 1e3).toFixed(1)} s`;
  if (size < 100e3) return `${Math.round(ms / 1e3)} s`;
  if (size < 100 * 60e3) return `${Math.round(ms / 60e3)} min`;
  if (size < 48 * 3600e3) return `${Math.round(ms / 3600e3)} h`;
  return `${Math.round(ms / 86400e3)} d`;
}

const two = (number, digits = 2) => String(number).padStart(digits, '0');

// 14:03:07.123, of this browser's zone.
export function clock(text) {
  const time = new Date(text);
  if (Number.isNaN(+time)) return '';
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${two(time.getMilliseconds(), 3)}`;
}

export function date(text) {
  const time = new Date(text);
  if (Number.isNaN(+time)) return '';
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
}

export const count = (number) => Number(number).toLocaleString('en');

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

// payment.charged.v1 without its version.
export const short = (type) => (type || 'unreadable').replace(/\.v\d+$/, '');

// What the read model tells of one, in words: an amount with its currency is money.
export function details(all) {
  const left = { ...all };
  const pairs = [];
  if (Number.isInteger(left.amount) && left.currency) {
    pairs.push(['amount', money(left.amount, left.currency)]);
    delete left.amount;
    delete left.currency;
  }
  for (const [name, value] of Object.entries(left)) {
    const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
    // A number alone says nothing.
    pairs.push([name, typeof value === 'number' ? `${text} ${name}` : text]);
  }
  return pairs;
}

function money(amount, currency) {
  try {
    const format = new Intl.NumberFormat('en', { style: 'currency', currency, currencyDisplay: 'code' });
    const digits = format.resolvedOptions().maximumFractionDigits;
    return `${(amount / 10 ** digits).toFixed(digits)} ${currency}`;
  } catch {
    return `${amount} ${currency}`;
  }
}

export function badge(state) {
  return h('span', { class: `badge is-${state}` }, state);
}

// A button that copies, and says so.
export function copy(text, label = 'copy') {
  const said = h('span', { 'aria-live': 'polite' }, label);
  const button = h('button', { type: 'button', class: 'quiet', click: async () => {
    try {
      await navigator.clipboard.writeText(typeof text === 'function' ? text() : text);
      said.textContent = 'copied';
    } catch {
      said.textContent = 'not allowed';
    }
    setTimeout(() => { said.textContent = label; }, 1500);
  } }, said);
  return button;
}

// A sentence as the tool prints it: its commands stand between backticks.
export function prose(text) {
  return text.split('`').map((part, at) => (at % 2 ? h('code', null, part) : part));
}

// A problem document, as people read it.
export function trouble(problem) {
  return h('div', { class: 'problem', role: 'alert' },
    h('strong', null, problem.title ?? 'something went wrong'),
    h('p', null, prose(problem.detail ?? String(problem))),
    problem.errors?.length > 0 && h('ul', null, problem.errors.map((one) => h('li', null,
      h('code', null, one.pointer || '/'), ' ', one.message,
      one.example !== undefined && [', such as ', h('code', null, JSON.stringify(one.example))]))));
}
