// Choosing and pinning columns.

import { button, el, icon } from "../dom.js";

const PARTS = [
  ["config", "Configuration"],
  ["metrics", "Metrics"],
  ["fixed", "Run"],
  ["run", "Record"],
];

/** Return the content of the box that chooses columns. */
export function columnChooser({ model, store, shown }) {
  const chosen = new Set(shown().map((column) => column.id));
  const list = el("div", { class: "choices" });
  const all = [...model.columns, ...model.fixed.filter((column) => column.id !== "run")];
  for (const [part, title] of PARTS) {
    const columns = all.filter((column) => column.part === part);
    if (!columns.length) continue;
    list.append(el("h3", {}, title), ...columns.map((column) => choice(column, chosen, store, shown)));
  }
  const search = el("input", {
    type: "search",
    placeholder: "Find a column",
    "aria-label": "find a column",
    on: {
      input: () => {
        const word = search.value.toLowerCase();
        for (const row of list.querySelectorAll(".choice")) row.hidden = !row.dataset.name.includes(word);
      },
    },
  });
  const constant = el("label", { class: "choice" }, el("input", {
    type: "checkbox",
    checked: store.state.constant,
    on: { change: (event) => store.set({ constant: event.target.checked, columns: null }) },
  }), el("span", {}, "Show columns with one value"));
  const reset = button("Usual columns", () => store.set({ columns: null, pinned: [], constant: false }), { class: "quiet" });
  return [all.length > 12 ? search : null, list, el("div", { class: "popover-foot" }, constant, reset)];
}

function choice(column, chosen, store, shown) {
  const box = el("input", {
    type: "checkbox",
    checked: chosen.has(column.id),
    on: { change: () => choose(column, box.checked, store, shown) },
  });
  const isPinned = store.state.pinned.includes(column.id);
  const pin = button(icon("pin"), () => {
    const pinned = store.state.pinned.filter((id) => id !== column.id);
    const on = pinned.length === store.state.pinned.length;
    if (on && !box.checked) {
      box.checked = true;
      choose(column, true, store, shown);
    }
    pin.setAttribute("aria-pressed", String(on));
    store.set({ pinned: on ? [...pinned, column.id] : pinned });
  }, { class: "pin", "aria-pressed": String(isPinned), "aria-label": `pin ${column.name}`, title: "Keep at the left" });
  return el(
    "div",
    { class: "choice", data: { name: column.name.toLowerCase() } },
    el("label", {}, box, el("span", { title: column.name }, column.name)),
    column.varies ? null : el("small", {}, "one value"),
    pin,
  );
}

function choose(column, isOn, store, shown) {
  const ids = shown().map((one) => one.id).filter((id) => id !== column.id);
  store.set({ columns: isOn ? [...ids, column.id] : ids });
}
