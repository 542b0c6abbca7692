// Titles of the run table: a button that sorts, and a box that filters.

import { el, icon } from "../dom.js";

const DIRECTION = { max: "\u2191", min: "\u2193" };

/** Return what a click on a title sorts by: the best first, then the other way, then not at all. */
export function nextSort(column, sort) {
  const first = column.mode === "max" || column.id === "started";
  if (sort?.id !== column.id) return { id: column.id, down: first };
  return sort.down === first ? { id: column.id, down: !first } : null;
}

/** Return the order of a column as ARIA names it. */
export function ariaSort(column, sort) {
  if (sort?.id !== column.id) return "none";
  return sort.down ? "descending" : "ascending";
}

/** Return the content of a title. */
export function header(column, state, actions) {
  const sort = state.sort;
  const isSorted = sort?.id === column.id;
  const arrow = isSorted ? icon(sort.down ? "down" : "up") : null;
  const best = column.mode && DIRECTION[column.mode];
  const source = column.source ? `, ${column.source}` : "";
  const title = column.mode ? `${column.name}: ${column.mode === "max" ? "higher" : "lower"} is better${source}` : column.name;
  const sorter = el(
    "button",
    { type: "button", class: isSorted ? "sorter on" : "sorter", title, data: { sort: column.id } , on: { click: () => actions.sort(column) } },
    el("span", { class: "name" }, column.title),
    best ? el("span", { class: "mode", "aria-hidden": "true" }, best) : null,
    arrow,
  );
  const parts = [sorter];
  if (state.boxes) parts.push(box(column, state, actions));
  return el("div", { class: column.type === "number" && column.id !== "started" ? "title right" : "title" }, parts);
}

function box(column, state, actions) {
  const isNumber = column.type === "number" && column.id !== "started";
  const hint = isNumber ? "> 0.5" : "filter";
  const input = el("input", {
    type: "search",
    class: "filter",
    placeholder: hint,
    "aria-label": `filter ${column.name}`,
    title: isNumber ? "> 0.5, <= 3, = 1, 0.1..0.5" : "a part of the text",
    value: state.filters[column.id] ?? "",
    data: { filter: column.id },
    on: {
      input: () => actions.filter(column, input.value),
      mousedown: (event) => event.stopPropagation(),
    },
  });
  return input;
}
