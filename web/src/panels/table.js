// The run table: Tabulator draws the rows that are in sight; order, filters and groups are ours.

import { FormatModule, FrozenColumnsModule, MoveColumnsModule, ResizeColumnsModule, ResizeTableModule, Tabulator } from "tabulator-tables";
import { announce, debounced, el, icon, put } from "../dom.js";
import { count, plural, short } from "../data/format.js";
import { command, flag } from "../data/command.js";
import { NARROW, groupCell, hasSecondLine, isNumber, runCell, usualColumns, widthOf } from "./cells.js";
import { ariaSort, header, nextSort } from "./headers.js";
import { chips } from "./chips.js";
import { columnChooser } from "./columns.js";
import { targetOf } from "./target.js";
import { rowKeys } from "./row_keys.js";
import { commandLine, panel, popover, toggle } from "./panel.js";

Tabulator.registerModule([FormatModule, FrozenColumnsModule, MoveColumnsModule, ResizeColumnsModule, ResizeTableModule]);

const ROW = 34;
const ROW_OF_TWO = 62; // with a second line
const HIGHEST = 620;
const SCROLLBAR = 16;

export class RunTable {
  constructor(context) {
    Object.assign(this, context);
    this.panel = panel("runs", "Runs");
    this.node = this.panel.node;
    this.build();
    this.store.listen(["q", "filters", "brush"], () => this.afterFilter());
    this.store.listen(["sort"], () => this.afterSort());
    this.store.listen(["open"], () => this.refill());
    this.store.listen(["grouped"], () => this.recolumn());
    this.store.listen(["columns", "pinned", "constant", "boxes"], () => this.recolumn());
    this.store.listen(["selected", "run"], () => this.mark());
  }

  build() {
    const { store } = this;
    this.search = el("input", {
      type: "search",
      id: "search",
      placeholder: "Search words, or a condition: accuracy > 0.9 and lr in (0.1, 0.01)",
      "aria-label": "search words or a condition",
      "aria-describedby": "search-problem",
      autocomplete: "off",
      spellcheck: "false",
      value: store.state.q,
    });
    const ask = debounced(120, () => store.set({ q: this.search.value }));
    this.search.addEventListener("input", ask);
    this.problem = el("p", { id: "search-problem", class: "problem", hidden: true });
    this.groupToggle = toggle("Group seeds", store.state.grouped, (on) => store.set({ grouped: on, open: [] }), "layers");
    this.boxToggle = toggle("Filters", store.state.boxes, (on) => store.set({ boxes: on, filters: on ? store.state.filters : {} }), "filter");
    this.chooser = popover("Columns", "columns", () => columnChooser({ model: this.model, store, shown: () => this.shown() }));
    this.groupToggle.node.hidden = !this.model.seeds.length;
    this.panel.tools.append(this.groupToggle.node, this.boxToggle.node, this.chooser.node);
    this.chips = el("div", { class: "chips" });
    this.count = el("span", { class: "count" });
    this.place = el("div", { class: this.row === ROW ? "runs" : "runs of-two-lines" });
    this.hidden = el("details", { class: "hidden-columns" });
    this.selection = el("p", { class: "selection-note", hidden: true });
    this.more = el("p", { class: "hidden-columns", hidden: true });
    this.command = commandLine("the runs");
    put(
      this.panel.body,
      el("div", { class: "searching" }, icon("search"), this.search),
      this.problem,
      el("div", { class: "counting" }, this.count, this.chips),
      this.place,
      this.selection,
      this.hidden,
      this.more,
      this.command.node,
    );
  }

  /** The height of a row; where there is little room, keys have a line of their own. */
  get row() {
    this.row_ ??= hasSecondLine(this.model) ? ROW_OF_TWO : ROW;
    return this.row_;
  }

  /** Draw the table for the first time; it must stand in the page. */
  start() {
    this.table = new Tabulator(this.place, {
      data: this.rows(),
      columns: this.definitions(),
      layout: "fitDataFill",
      height: this.height(),
      rowHeight: this.row,
      renderVerticalBuffer: 200,
      nestedFieldSeparator: false,
      movableColumns: true,
      autoResize: true,
      placeholder: () => el("span", {}, this.model.length ? "No run passes the filters." : "No run yet."),
      rowFormatter: (row) => this.dress(row),
      columnDefaults: { resizable: "header", minWidth: 56 },
    });
    this.place.setAttribute("aria-label", "runs");
    this.keys = rowKeys(this.place, this);
    this.table.on("tableBuilt", () => {
      this.isBuilt = true;
      // Rows take part in the order of Tab, their frame does not; it has no role either.
      this.place.querySelector(".tabulator-tableholder").removeAttribute("tabindex");
      this.ariaColumns();
      this.keys.adopt();
    });
    this.table.on("columnMoved", (_, columns) => {
      this.store.set({ columns: columns.map((column) => column.getField()).filter((id) => id !== "run") });
    });
    this.table.on("renderComplete", () => this.keys?.adopt());
    this.describe();
  }

  // As high as its rows, up to what a window can show.
  height() {
    const head = this.store.state.boxes ? 76 : 42;
    const rows = Math.max(3, this.list.length) * (this.row + 1);
    return Math.min(head + rows + SCROLLBAR, HIGHEST, Math.max(260, Math.round(innerHeight * 0.78)));
  }

  /** Return the columns that are shown, pinned ones first. */
  shown() {
    const { state } = this.store;
    const chosen = state.columns
      ? [this.model.byId.get("run"), ...state.columns.map((id) => this.model.find(id)).filter((one) => one && one.id !== "run")]
      : this.usual();
    const isPinned = (column) => column.id === "run" || state.pinned.includes(column.id);
    return [...chosen.filter(isPinned), ...chosen.filter((column) => !isPinned(column))];
  }

  // Where there is little room, what the rows are about comes first.
  usual() {
    const columns = usualColumns(this.model, this.store.state.constant);
    const sorted = this.store.state.sort && this.model.find(this.store.state.sort.id);
    const first = sorted ?? targetOf(this.model, this.store);
    if (innerWidth >= NARROW || !columns.includes(first) || first.id === "run") return columns;
    return [columns[0], first, ...columns.slice(1).filter((column) => column !== first)];
  }

  definitions() {
    const { state } = this.store;
    const isNarrow = innerWidth < NARROW;
    return this.shown().map((column) => ({
      field: column.id,
      title: column.name,
      width: widthOf(column, this.model, state.grouped),
      frozen: column.id === "run" || (!isNarrow && state.pinned.includes(column.id)),
      hozAlign: isNumber(column) ? "right" : "left",
      headerHozAlign: isNumber(column) ? "right" : "left",
      titleFormatter: () => header(column, this.store.state, this.actions()),
      formatter: (cell) => this.cell(cell, column),
    }));
  }

  actions() {
    this.filterLater ??= debounced(160, (id, text) => {
      const filters = { ...this.store.state.filters };
      if (text.trim()) filters[id] = text;
      else delete filters[id];
      this.store.set({ filters });
    });
    return {
      sort: (column) => this.store.set({ sort: nextSort(column, this.store.state.sort) }),
      filter: (column, text) => this.filterLater(column.id, text),
    };
  }

  cell(cell, column) {
    const row = cell.getData();
    const content = row.group ? groupCell(column, row, this) : runCell(column, row, this);
    const text = content.textContent;
    if (text.length > 16) cell.getElement().title = text;
    if (column.id === "error") cell.getElement().classList.add("error-cell");
    return content;
  }

  isSelected(name) {
    this.selected ??= new Set(this.store.state.selected);
    return this.selected.has(name);
  }

  isOpen(key) {
    return this.store.state.open.includes(key);
  }

  /** Return the rows in order: runs, or groups and the runs of those that are open. */
  rows() {
    if (!this.store.state.grouped || !this.model.seeds.length) {
      this.list = this.view.ordered().map((at) => ({ at }));
      return this.list;
    }
    this.list = [];
    for (const group of this.view.groups()) {
      this.list.push({ group });
      if (this.isOpen(group.key)) for (const at of this.inGroup(group)) this.list.push({ at, inGroup: true });
    }
    return this.list;
  }

  inGroup(group) {
    const seeds = this.model.seeds;
    return [...group.runs].sort((one, other) => {
      for (const column of seeds) {
        const difference = Number(column.values[one]) - Number(column.values[other]);
        if (difference) return difference;
      }
      return one - other;
    });
  }

  dress(row) {
    const node = row.getElement();
    const data = row.getData();
    const names = this.model.payload.runs.name;
    node.setAttribute("aria-rowindex", String((row.getPosition() || 0) + 1));
    node.classList.toggle("group-row", Boolean(data.group));
    node.classList.toggle("inner-row", Boolean(data.inGroup));
    const name = data.group ? null : names[data.at];
    node.classList.toggle("chosen", name !== null && this.isSelected(name));
    node.classList.toggle("opened", name !== null && this.store.state.run === name);
  }

  afterFilter() {
    if (document.activeElement !== this.search) this.search.value = this.store.state.q;
    for (const input of this.place.querySelectorAll("input.filter")) {
      if (input !== document.activeElement) input.value = this.store.state.filters[input.dataset.filter] ?? "";
    }
    this.refill();
    const { length } = this.view.visible;
    announce(`${plural(length, "run")} of ${count(this.model.length)} shown`);
  }

  afterSort() {
    this.view.groups_ = null;
    this.refill(true);
    this.redrawHeads();
    const { sort } = this.store.state;
    const name = sort && this.model.find(sort.id)?.name;
    announce(name ? `sorted by ${name}, ${sort.down ? "largest" : "smallest"} first` : "not sorted");
  }

  /** Put other rows into the table; where it is scrolled to stays, unless `toTop`. */
  refill(toTop = false) {
    if (!this.isBuilt) return;
    const focused = this.keys.remember();
    const holder = this.place.querySelector(".tabulator-tableholder");
    const before = holder.scrollTop;
    const rows = this.rows();
    this.fitHeight();
    const fill = toTop ? this.table.setData(rows) : this.table.replaceData(rows);
    fill.then(() => {
      if (!toTop && holder.scrollTop !== before) holder.scrollTop = before;
      this.keys.restore(focused);
    });
    this.describe();
  }

  fitHeight() {
    const height = this.height();
    if (height !== this.fitted) this.table.setHeight(height);
    this.fitted = height;
  }

  recolumn() {
    if (!this.isBuilt) return;
    this.groupToggle.set(this.store.state.grouped);
    this.boxToggle.set(this.store.state.boxes);
    const focused = document.activeElement?.dataset?.filter;
    this.table.setColumns(this.definitions());
    this.refill();
    this.ariaColumns();
    if (focused) this.place.querySelector(`input[data-filter="${CSS.escape(focused)}"]`)?.focus();
    announce(this.store.state.grouped ? `${plural(this.view.groups().length, "group")} of seeds` : "single runs");
  }

  redrawHeads() {
    for (const column of this.table.getColumns()) {
      const own = this.model.find(column.getField());
      const holder = column.getElement().querySelector(".tabulator-col-title");
      const hadFocus = holder?.contains(document.activeElement);
      if (holder && own) put(holder, header(own, this.store.state, this.actions()));
      if (hadFocus) holder.querySelector(".sorter").focus();
    }
    this.ariaColumns();
  }

  ariaColumns() {
    for (const column of this.table.getColumns()) {
      const own = this.model.find(column.getField());
      if (own) column.getElement().setAttribute("aria-sort", ariaSort(own, this.store.state.sort));
    }
  }

  /** Show selection and the open run in the rows that are in sight. */
  mark() {
    this.selected = new Set(this.store.state.selected);
    if (!this.isBuilt) return;
    for (const row of this.table.getRows("visible")) {
      this.dress(row);
      const data = row.getData();
      const box = row.getElement().querySelector("input[type=checkbox]");
      if (!box) continue;
      const names = (data.group ? data.group.runs : [data.at]).map((at) => this.model.payload.runs.name[at]);
      box.checked = names.every((name) => this.isSelected(name));
    }
    this.describe();
  }

  /** Say how much is shown, what is hidden, and the command. */
  describe() {
    const { model, view } = this;
    const { state } = this.store;
    this.place.setAttribute("aria-rowcount", String((this.list?.length ?? 0) + 1));
    const shown = view.visible.length;
    const total = count(model.length);
    let text = shown === model.length ? plural(shown, "run") : `${count(shown)} of ${total} runs`;
    if (state.grouped && model.seeds.length) text += ` in ${plural(view.groups().length, "group")}: mean \u00b1 standard deviation over ${model.seeds.map((one) => one.name).join(", ")}, n runs that succeeded`;
    if (state.selected.length) text += ` \u00b7 ${count(state.selected.length)} selected`;
    this.count.textContent = text;
    this.selection.hidden = !state.selected.length || !model.seriesOf.size;
    this.selection.textContent = `The curves show ${state.selected.length === 1 ? "the selected run" : `the ${count(state.selected.length)} selected runs`} alone; all other panels go on showing what passes the filters.`;
    this.problem.hidden = !view.problem;
    this.problem.textContent = view.problem ? `Not used: ${view.problem}.` : "";
    this.search.setAttribute("aria-invalid", String(Boolean(view.problem)));
    chips(this.chips, this);
    this.describeHidden();
    this.command.show(this.commandText(), view.beyond);
  }

  describeHidden() {
    const { model } = this;
    const constant = [...model.config, ...model.metrics].filter((column) => !column.varies);
    const varying = [...model.config, ...model.metrics].filter((column) => column.varies);
    const shown = new Set(this.shown());
    const left = varying.filter((column) => !shown.has(column)).length;
    this.more.hidden = !left || Boolean(this.store.state.columns);
    this.more.textContent = `${plural(left, "column")} more: Columns adds them.`;
    this.hidden.hidden = !constant.length || this.store.state.constant || Boolean(this.store.state.columns);
    const first = (column) => column.values.findIndex((value) => value !== null && value !== undefined);
    put(
      this.hidden,
      el("summary", {}, `${plural(constant.length, "column")} with one value ${constant.length === 1 ? "is" : "are"} not shown`),
      el("dl", { class: "pairs" }, constant.map((column) => [el("dt", {}, column.name), el("dd", {}, short(column.values[first(column)], column.part === "metrics"))])),
    );
  }

  commandText() {
    const { state } = this.store;
    const { root } = this.model.payload;
    const sort = state.sort && this.model.find(state.sort.id);
    if (state.grouped && this.model.seeds.length) return this.groupCommand(sort);
    const isReverse = sort && state.sort.down !== (sort.mode === "max");
    const options = [
      ...this.view.filterOptions(),
      ["--sort", sort?.name],
      flag("--reverse", isReverse),
    ];
    if (state.columns) options.push(["--columns", this.shown().map((column) => column.name).join(",")]);
    else if (state.constant) options.push(flag("--all-columns"));
    return command("list", root, ...options);
  }

  groupCommand(sort) {
    const { root } = this.model.payload;
    const metric = sort?.part === "metrics" ? sort : targetOf(this.model, this.store);
    if (!metric) return command("table", root, ...this.view.filterOptions());
    const isBest = sort === metric && metric.mode && this.store.state.sort.down === (metric.mode === "max");
    if (isBest) return command("best", root, metric.name, ["-n", String(this.view.groups().length || 1)], ...this.view.filterOptions());
    return command("table", root, ["--metric", metric.name], ...this.view.filterOptions());
  }
}
