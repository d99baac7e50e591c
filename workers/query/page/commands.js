// The command that shows, or does, the same as the page.

// What only the micro service takes: a place in a list means nothing to people.
const NO_FLAG = ['after', 'wait'];

export function quote(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${String(text).replaceAll("'", `'\\''`)}'`;
}

export function list(about, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value);
  if (!given.some(([name]) => NO_FLAG.includes(name))) {
    const flags = given.map(([name, value]) => ` --${name.replaceAll('_', '-')} ${quote(value)}`);
    return `quadrille ${about.many} ls${flags.join('')}`;
  }
  return `nats req ${about.many}.list ${quote(JSON.stringify(Object.fromEntries(given)))}`;
}

export const trace = (id) => `quadrille trace ${quote(id)}`;

export const why = (id) => `quadrille why ${quote(id)}`;

export const asOf = (about, id, at) => `nats req ${about.many}.get ${quote(JSON.stringify({ id, at }))}`;

export const find = (about, text) => `quadrille ${about.many} find ${quote(text)}`;

export const payload = (about, id, sequence) =>
  `nats req ${about.many}.payload ${quote(JSON.stringify({ id, sequence: String(sequence) }))}`;

export const act = (about, verb, body) => `nats req ${about.many}.${verb.name} ${quote(body)}`;

export const breaker = (service) => `quadrille breaker show ${quote(service)}`;

export const durable = (stream, name) => `nats consumer info ${quote(stream)} ${quote(name)}`;

// Writes the same event; where it is already, the broker refuses it.
export function publish(event) {
  const headers = Object.entries(event.headers ?? {}).map(([name, value]) => ` -H ${quote(`${name}:${value}`)}`);
  const body = event.payload !== null ? JSON.stringify(event.payload) : event.text ?? '';
  return `nats pub -J${headers.join('')} ${quote(event.subject)} ${quote(body)}`;
}
