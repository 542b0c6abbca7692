// The filters that are on, each with a button that takes it off.

import { button, el, icon, put } from "../dom.js";
import { general } from "../data/format.js";

/** Show the filters of a table. */
export function chips(place, { store, model }) {
  const { state } = store;
  const list = [];
  if (state.q.trim()) list.push([state.q.trim(), () => store.set({ q: "" })]);
  for (const [id, text] of Object.entries(state.filters)) {
    const name = model.find(id)?.name ?? id;
    list.push([`${name}: ${text}`, () => store.set({ filters: without(state.filters, id) })]);
  }
  for (const [id, ranges] of Object.entries(state.brush)) {
    const name = model.find(id)?.name ?? id;
    list.push([`${name}: ${spelt(ranges)}`, () => store.set({ brush: without(state.brush, id) })]);
  }
  if (state.selected.length) {
    list.push([`${state.selected.length} selected`, () => store.set({ selected: [] })]);
  }
  const nodes = list.map(([text, off]) =>
    el("span", { class: "chip" }, el("span", { title: text }, text), button(icon("close"), off, { "aria-label": `remove filter ${text}` })),
  );
  if (list.length > 1) {
    nodes.push(button("Clear all", () => store.set({ q: "", filters: {}, brush: {}, selected: [] }), { class: "quiet" }));
  }
  put(place, nodes);
}

function without(map, id) {
  const rest = { ...map };
  delete rest[id];
  return rest;
}

function spelt(ranges) {
  if (!Array.isArray(ranges)) return "";
  return ranges
    .map((range) => (Array.isArray(range) ? `${general(range[0], 4)} to ${general(range[1], 4)}` : range))
    .join(", ");
}
