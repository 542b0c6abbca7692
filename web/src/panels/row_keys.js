// The run table by keyboard and mouse: one row takes part in the order of Tab, arrows move it.

/** Return the keeper of the focus among the rows. */
export function rowKeys(place, owner) {
  const { store } = owner;
  const links = () => [...place.querySelectorAll(".tabulator-tableholder button[data-run], .tabulator-tableholder button[data-group]")];
  const nameOf = (link) => (link.dataset.run !== undefined ? `run ${link.dataset.run}` : `group ${link.dataset.group}`);
  let active = null;

  /** Let exactly one row be reached by Tab. */
  function adopt() {
    const all = links();
    if (!all.length) return;
    const current = all.find((link) => nameOf(link) === active) ?? all[0];
    for (const link of all) link.tabIndex = link === current ? 0 : -1;
  }

  function focus(link) {
    active = nameOf(link);
    adopt();
    link.focus({ preventScroll: true });
    link.closest(".tabulator-row").scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  function inOrder() {
    return links().sort((one, other) => one.getBoundingClientRect().top - other.getBoundingClientRect().top);
  }

  function move(link, step) {
    const all = inOrder();
    const next = all[all.indexOf(link) + step];
    if (next) focus(next);
  }

  function far(isEnd) {
    const holder = place.querySelector(".tabulator-tableholder");
    holder.scrollTop = isEnd ? holder.scrollHeight : 0;
    setTimeout(() => {
      const all = inOrder();
      const last = isEnd ? all.at(-1) : all[0];
      if (last) focus(last);
    }, 60);
  }

  function select(box) {
    const names = owner.model.payload.runs.name;
    const group = box.dataset.selectGroup;
    const wanted = group === undefined ? [box.dataset.select] : owner.view.groups().find((one) => one.key === group).runs.map((at) => names[at]);
    const rest = store.state.selected.filter((name) => !wanted.includes(name));
    store.set({ selected: box.checked ? [...rest, ...wanted] : rest });
  }

  function use(link) {
    active = nameOf(link);
    if (link.dataset.run !== undefined) {
      store.set({ run: store.state.run === link.dataset.run ? null : link.dataset.run });
      return;
    }
    const { open } = store.state;
    const key = link.dataset.group;
    store.set({ open: open.includes(key) ? open.filter((one) => one !== key) : [...open, key] });
  }

  place.addEventListener("click", (event) => {
    const box = event.target.closest("input[type=checkbox]");
    if (box) return select(box);
    const row = event.target.closest(".tabulator-row");
    const link = row?.querySelector("button[data-run], button[data-group]");
    if (link && !String(getSelection())) use(link);
    return undefined;
  });

  place.addEventListener("keydown", (event) => {
    const link = event.target.closest("button[data-run], button[data-group]");
    if (!link || event.ctrlKey || event.metaKey || event.altKey) return;
    const isOpen = link.getAttribute("aria-expanded") === "true";
    const keys = {
      ArrowDown: () => move(link, 1),
      ArrowUp: () => move(link, -1),
      j: () => move(link, 1),
      k: () => move(link, -1),
      Home: () => far(false),
      End: () => far(true),
      ArrowRight: () => link.dataset.group !== undefined && !isOpen && use(link),
      ArrowLeft: () => link.dataset.group !== undefined && isOpen && use(link),
      " ": () => link.closest(".tabulator-row").querySelector("input[type=checkbox]").click(),
    };
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  return {
    adopt,
    /** Return the row that has the focus now. */
    remember: () => {
      const link = document.activeElement?.closest?.("button[data-run], button[data-group]");
      return link && place.contains(link) ? nameOf(link) : null;
    },
    /** Give it back after the rows were made anew. */
    restore: (name) => {
      adopt();
      const link = name && links().find((one) => nameOf(one) === name);
      if (link) link.focus({ preventScroll: true });
    },
    /** Focus the row of a run, if it is in sight. */
    focusRun: (name) => {
      const link = links().find((one) => one.dataset.run === name);
      if (link) focus(link);
      return Boolean(link);
    },
  };
}
