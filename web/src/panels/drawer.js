// The drawer of one run: all of its configuration, metrics, record, and, live, its log and files.

import { button, el, icon, keeping, put, toast } from "../dom.js";
import { command } from "../data/command.js";
import { bytes, clock, date, short } from "../data/format.js";
import { get, post } from "../data/load.js";
import { badge, commandLine } from "./panel.js";
import { isLogged } from "./cells.js";
import { tagEditor } from "./tags.js";

export class Drawer {
  constructor(context) {
    Object.assign(this, context);
    this.node = el("aside", { class: "drawer", role: "dialog", "aria-labelledby": "drawer-title", hidden: true });
    this.store.listen(["run"], () => this.show());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !this.node.hidden && !event.defaultPrevented) this.close();
    });
  }

  close() {
    this.store.set({ run: null });
  }

  show() {
    const name = this.store.state.run;
    const at = name === null ? undefined : this.model.at.get(name);
    if (at === undefined) {
      const wasOpen = !this.node.hidden;
      this.node.hidden = true;
      document.body.classList.remove("has-drawer");
      if (wasOpen && this.before?.isConnected) this.before.focus();
      else if (wasOpen) this.table.keys?.focusRun(this.last) || this.table.search.focus();
      return;
    }
    if (this.node.hidden) this.before = document.activeElement;
    this.last = name;
    this.node.hidden = false;
    document.body.classList.add("has-drawer");
    this.fill(at, name);
    this.node.querySelector("h2").focus();
    this.node.scrollTop = 0;
  }

  /** Show the same run again after a change, unless somebody is typing there. */
  refresh() {
    const name = this.store.state.run;
    const at = this.model.at.get(name);
    if (at === undefined || this.node.hidden || this.shown === this.signature(at)) return;
    if (document.activeElement?.matches(".drawer input")) return;
    const { scrollTop } = this.node;
    keeping(this.node, () => this.fill(at, name, this.more));
    this.node.scrollTop = scrollTop;
  }

  // Log and files are read again while a run is at work.
  signature(at) {
    const { runs } = this.model.payload;
    const isAtWork = runs.status[at] === "running" ? this.model.payload.state : 0;
    const lists = [runs.status, runs.seconds, runs.attempt, runs.error, runs.tags, ...this.model.columns.map((column) => column.values)];
    return JSON.stringify([isAtWork, runs.name[at], lists.map((list) => list[at])]);
  }

  fill(at, name, more = null) {
    this.shown = this.signature(at);
    const { runs, root, live } = this.model.payload;
    const status = runs.status[at];
    const line = commandLine("this run");
    line.show(command("show", root, runs.id[at]));
    const parts = [
      el("header", {},
        el("div", { class: "drawer-title" },
          el("h2", { id: "drawer-title", tabindex: "-1" }, el("span", { class: "mono" }, runs.id[at]), " ", badge(status)),
          el("div", { class: "tools" },
            button(icon("up"), () => this.step(-1), { class: "round", "aria-label": "run before" }),
            button(icon("down"), () => this.step(1), { class: "round", "aria-label": "next run" }),
            button(icon("close"), () => this.close(), { class: "round", "aria-label": "close" }))),
        el("p", { class: "muted" }, this.model.label(at) || name)),
      status === "running" && live ? this.stopper(name) : null,
      runs.error[at] ? section("Error", el("pre", { class: "error" }, runs.error[at])) : null,
      section(live && isLogged(status) ? "Metrics, as logged last" : "Metrics", pairs(this.model.metrics, at, true)),
      section("Configuration", pairs(this.model.varying, at), this.constants(at)),
      section("Record", this.record(at, name)),
      this.tags(at, name),
    ];
    this.more = more ?? el("div", {}, live ? section("Log", el("p", { class: "muted" }, "is read ...")) : this.failureLog(at));
    put(this.node, parts, this.more, line.node);
    if (live) this.fetchMore(name);
  }

  /** Return the last lines that a report has of a failure of this kind. */
  failureLog(at) {
    const { failures, runs } = this.model.payload;
    const failure = failures.find((one) => one.log && one.runs.includes(at));
    if (!failure) return null;
    const [first] = failure.runs;
    return section("Log", first === at ? null : el("p", { class: "muted" }, `Of run ${runs.id[first]}, which failed in the same way.`),
      el("pre", { class: "log", tabindex: "0", "aria-label": "last lines of the log" }, failure.log));
  }

  constants(at) {
    const rest = this.model.config.filter((column) => !column.varies);
    if (!rest.length) return null;
    return el("details", {}, el("summary", {}, `${rest.length} more, the same in all runs`), pairs(rest, at));
  }

  record(at, name) {
    const { runs } = this.model.payload;
    const lines = [
      ["started", date(runs.started[at])],
      ["time", clock(runs.seconds[at])],
      ["attempt", runs.attempt[at]],
      ["function", runs.function[at]],
      ["code", runs.code[at]],
      ["group", runs.group[at]],
      ["folder", name],
      ...this.model.columns.filter((column) => column.part === "run").map((column) => [column.key, present(column.values[at])]),
    ];
    return list(lines.filter(([, value]) => value !== null && value !== undefined && value !== "\u2013"));
  }

  tags(at, name) {
    const { runs, live } = this.model.payload;
    const tags = runs.tags[at];
    if (live) return section("Tags", tagEditor(name, tags));
    if (!tags.length) return null;
    return section("Tags", el("p", { class: "tags" }, tags.map((tag) => el("span", { class: "tag" }, tag))));
  }

  stopper(name) {
    return el("p", {}, button("Stop this run", async () => {
      if (!confirm("Stop this run? What it has written so far stays.")) return;
      try {
        toast((await post("/api/stop", { run: name })).said ?? "the run is asked to stop");
      } catch (error) {
        toast(error.message, true);
      }
    }, { class: "danger" }));
  }

  async fetchMore(name) {
    let of;
    try {
      of = await get(`/api/run/${encodeURIComponent(name)}`);
    } catch (error) {
      put(this.more, section("Log", el("p", { class: "problem" }, error.message)));
      return;
    }
    if (this.store.state.run !== name) return;
    const files = (of.files ?? []).map((file) => {
      const path = file.path.split("/").map(encodeURIComponent).join("/");
      return el("li", {}, el("a", { href: `/files/${encodeURIComponent(name)}/${path}`, download: true }, file.path), el("small", {}, bytes(file.size)));
    });
    const log = el("pre", { class: "log", tabindex: "0", "aria-label": "last lines of the log" }, of.log || "nothing yet");
    put(this.more, section("Log", log), files.length ? section("Files", el("ul", { class: "files" }, files)) : null);
    log.scrollTop = log.scrollHeight;
  }

  /** Open the run above or below in the table. */
  step(by) {
    const names = this.model.payload.runs.name;
    const order = this.table.list.filter((row) => !row.group).map((row) => names[row.at]);
    const all = order.length ? order : this.view.ordered().map((at) => names[at]);
    const next = all[all.indexOf(this.store.state.run) + by];
    if (next) this.store.set({ run: next });
  }
}

const present = (value) => (value === null || value === undefined ? null : short(value));

function section(title, ...content) {
  return el("section", {}, el("h3", {}, title), ...content);
}

function list(lines) {
  return el("dl", { class: "pairs" }, lines.map(([key, value]) => [el("dt", {}, key), el("dd", {}, String(value))]));
}

function pairs(columns, at, isMetric = false) {
  const there = columns.filter((column) => column.values[at] !== null && column.values[at] !== undefined);
  if (!there.length) return el("p", { class: "muted" }, "none");
  return list(there.map((column) => [column.name, exact(column.values[at], isMetric)]));
}

// In the drawer numbers have all of their digits.
function exact(value, isMetric) {
  if (isMetric && typeof value === "number") return String(value);
  return typeof value === "object" ? JSON.stringify(value, null, 1) : short(value);
}
