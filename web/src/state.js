// What the reader has chosen. It stands in the address after `#`, so that a link brings it back.

import { debounced } from "./dom.js";

const FIRST = {
  q: "", // words, or a condition
  filters: {}, // by column: what stands in the box below its title
  brush: {}, // by column: ranges [low, high], or a list of values
  sort: null, // { id, down }
  columns: null, // chosen ones, in order; null: the usual
  pinned: [], // columns that stay at the left
  constant: false, // columns with one value, too
  boxes: false, // the row of filters is open
  grouped: false,
  open: [], // groups whose seeds are shown
  selected: [], // names of runs
  metric: null, // of curves
  by: null, // keys of curves; null: those that vary
  xlog: false,
  ylog: false,
  smooth: 0,
  seeds: false, // single runs behind the mean
  off: [], // curves that the legend leaves out
  only: null, // a curve that stands alone
  target: null, // metric of effects, parallel coordinates, best
  axes: null, // of parallel coordinates
  run: null, // the open one
  theme: "auto",
};

// How each part is written in the address: a text, a switch, a number, a list or JSON.
const KINDS = {
  q: "text", filters: "json", brush: "json", sort: "sort", columns: "list", pinned: "list",
  constant: "switch", boxes: "switch", grouped: "switch", open: "list", selected: "list",
  metric: "text", by: "list", xlog: "switch", ylog: "switch", smooth: "number", seeds: "switch",
  off: "list", only: "text", target: "text", axes: "list", run: "text", theme: "text",
};

const WRITE = {
  text: (value) => value,
  switch: (value) => (value ? "1" : "0"),
  number: (value) => String(value),
  list: (value) => value.map((item) => encodeURIComponent(item)).join(","),
  json: (value) => JSON.stringify(value),
  sort: (value) => (value.down ? "-" : "") + value.id,
};

const READ = {
  text: (text) => text,
  switch: (text) => text === "1",
  number: (text) => Math.min(0.99, Math.max(0, Number(text) || 0)),
  list: (text) => (text ? text.split(",").map((item) => decodeURIComponent(item)) : []),
  json: (text) => {
    const value = JSON.parse(text);
    return value && typeof value === "object" && !Array.isArray(value) ? value : {};
  },
  sort: (text) => ({ id: text.replace(/^-/, ""), down: text.startsWith("-") }),
};

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** Return the address of a state: only what differs from the first. */
export function written(state) {
  const parts = [];
  for (const [name, kind] of Object.entries(KINDS)) {
    if (same(state[name], FIRST[name]) || state[name] === null) continue;
    // Slashes, colons and commas stay readable.
    const text = encodeURIComponent(WRITE[kind](state[name])).replace(/%(3A|2C|2F|20)/g, (all) =>
      all === "%20" ? "+" : decodeURIComponent(all),
    );
    parts.push(`${name}=${text}`);
  }
  return parts.join("&");
}

/** Return the state of an address; what cannot be read is left out. */
export function read(address) {
  const state = structuredClone(FIRST);
  for (const part of address.replace(/^#/, "").split("&")) {
    const [name, ...rest] = part.split("=");
    if (!Object.hasOwn(KINDS, name)) continue;
    try {
      const text = decodeURIComponent(rest.join("=").replaceAll("+", " "));
      state[name] = READ[KINDS[name]](text);
    } catch {
      // An address that somebody has cut: the rest of it still counts.
    }
  }
  return state;
}

/** What the reader has chosen, and who wants to know of changes. */
export class Store {
  constructor() {
    this.state = read(location.hash);
    this.listeners = [];
    this.changed = new Set();
    this.address = location.hash.replace(/^#/, "");
    this.keep = debounced(120, () => this.writeAddress());
    addEventListener("hashchange", () => this.readAddress());
  }

  /** Call a function after changes; it gets the names of what has changed. */
  listen(names, listener) {
    this.listeners.push([names, listener]);
  }

  /** Change some parts; listeners hear of it together, once. */
  set(changes) {
    for (const [name, value] of Object.entries(changes)) {
      if (same(this.state[name], value)) continue;
      this.state[name] = value;
      this.changed.add(name);
    }
    if (this.changed.size) this.tell();
  }

  tell() {
    const changed = this.changed;
    this.changed = new Set();
    for (const [names, listener] of this.listeners) {
      if (names.some((name) => changed.has(name))) listener(changed);
    }
    this.keep();
  }

  writeAddress() {
    const address = written(this.state);
    if (address === this.address) return;
    this.address = address;
    history.replaceState(null, "", address ? `#${address}` : `${location.pathname}${location.search}`);
  }

  readAddress() {
    const address = location.hash.replace(/^#/, "");
    if (address === this.address) return;
    this.address = address;
    this.set(read(address));
  }
}
