// The head of the page: what it is, how it went, and what a reader must know.

import { button, el, icon, put } from "../dom.js";
import { clock, count, date, plural } from "../data/format.js";

const STATUSES = ["succeeded", "running", "failed", "skipped"];
const THEMES = { auto: ["auto", "theme: as the system"], light: ["sun", "theme: light"], dark: ["moon", "theme: dark"] };

export class Head {
  constructor(context) {
    Object.assign(this, context);
    this.node = el("header", { class: "head" });
    this.bar = el("div", { class: "bar" });
    this.live = el("span", { class: "connection", role: "status" });
    this.theme = button("", () => this.nextTheme(), { class: "round" });
    this.store.listen(["theme"], () => this.showTheme());
    this.showTheme();
  }

  refresh() {
    this.showBar();
    this.showHead();
  }

  showBar() {
    const { payload } = this.model;
    document.title = `${payload.title} \u00b7 ztxexp`;
    const links = el("div", { class: "links" }, this.sections().map(([id, text]) => button(text, () => jump(id))));
    put(this.bar, el("nav", { class: "bar-inner", "aria-label": "panels" }, el("span", { class: "brand" }, payload.title), links, this.live, this.theme));
  }

  showHead() {
    const { payload } = this.model;
    put(
      this.node,
      el("p", { class: "kind" }, payload.live ? "ztxexp, live" : "ztxexp report"),
      el("h1", {}, payload.title),
      this.numbers(),
      this.underWay(),
      el("p", { class: "when" }, this.when()),
      this.notes(),
    );
  }

  sections() {
    return [...document.querySelectorAll("main > section")].filter((one) => !one.hidden).map((one) => [one.id, one.querySelector("h2").firstChild.textContent]);
  }

  numbers() {
    const { status } = this.model.payload.runs;
    const counts = new Map();
    for (const one of status) counts.set(one, (counts.get(one) ?? 0) + 1);
    const others = [...counts.keys()].filter((one) => !STATUSES.includes(one)).sort();
    const all = el("li", {}, button(figure(status.length, status.length === 1 ? "run" : "runs"), () => this.filter(null), { title: "Show all" }));
    const parts = [...STATUSES, ...others].filter((one) => counts.get(one)).map((one) =>
      el("li", { class: one }, button(figure(counts.get(one), one), () => this.filter(one), { title: "Show these" })));
    return el("ul", { class: "numbers" }, all, parts);
  }

  /** Say how far the launches under way are, and about how long they still take. */
  underWay() {
    const { live, launches, runs } = this.model.payload;
    if (!live) return null;
    const living = launches.filter((launch) => launch.alive && launch.total > 0);
    if (!living.length) return runs.name.length ? null : el("p", { class: "under-way" }, "Waiting for the first run: the page comes alive by itself.");
    const total = living.reduce((sum, launch) => sum + launch.total, 0);
    const since = living.reduce((least, launch) => Math.min(least, launch.started ?? Infinity), Infinity);
    const took = [];
    const atWork = [];
    runs.status.forEach((status, at) => {
      if (status === "running") atWork.push(runs.seconds[at] ?? 0);
      // A run that has begun before may have been taken up again.
      else if ((runs.started[at] ?? 0) >= since) took.push(runs.seconds[at] ?? 0);
    });
    const done = Math.min(took.length, total);
    const text = `${count(done)} of ${plural(total, "run")} done`;
    if (!done || done === total) return el("p", { class: "under-way" }, text);
    const mean = took.reduce((sum, one) => sum + one, 0) / done;
    const workers = living.reduce((sum, launch) => sum + Math.max(1, launch.workers), 0);
    const waiting = Math.max(0, total - done - atWork.length);
    const work = waiting * mean + atWork.reduce((sum, one) => sum + Math.max(0, mean - one), 0);
    const left = work / Math.min(workers, Math.max(1, total - done));
    return el("p", { class: "under-way" }, `${text} \u00b7 about ${clock(left)} left`);
  }

  filter(status) {
    const filters = { ...this.store.state.filters };
    delete filters.status;
    this.store.set({ filters: status ? { ...filters, status } : filters });
    jump("runs");
  }

  when() {
    const { runs, made, ztxexp } = this.model.payload;
    const starts = runs.started.filter(Number.isFinite);
    const seconds = runs.seconds.filter(Number.isFinite).reduce((sum, value) => sum + value, 0);
    const first = starts.reduce((least, value) => Math.min(least, value), Infinity);
    const last = starts.reduce((most, value) => Math.max(most, value), -Infinity);
    const codes = [...new Set(runs.code.filter(Boolean))];
    const functions = [...new Set(runs.function.filter(Boolean))];
    return [
      starts.length ? `${date(first)} to ${date(last)}` : null,
      seconds ? `${clock(seconds)} of work` : null,
      functions.length ? functions.slice(0, 3).join(", ") + (functions.length > 3 ? ` and ${functions.length - 3} more` : "") : null,
      codes.length ? `code ${codes.slice(0, 6).join(", ")}${codes.length > 6 ? ", ..." : ""}` : null,
      `ztxexp ${ztxexp}, ${date(made)}`,
    ].filter(Boolean).join(" \u00b7 ");
  }

  notes() {
    const { notes, anonymous } = this.model.payload;
    const list = notes.length ? el("ul", { class: "callout" }, notes.map((note) => el("li", {}, icon("warn"), el("span", {}, note)))) : null;
    const taken = anonymous && el("details", { class: "callout calm" }, el("summary", {}, `Anonymous: ${plural(anonymous.length, "kind of thing was", "kinds of things were")} taken out`), el("ul", {}, anonymous.map((line) => el("li", {}, line))));
    return [list, taken];
  }

  nextTheme() {
    const names = Object.keys(THEMES);
    this.store.set({ theme: names[(names.indexOf(this.store.state.theme) + 1) % names.length] });
  }

  showTheme() {
    const [drawing, label] = THEMES[this.store.state.theme] ?? THEMES.auto;
    put(this.theme, icon(drawing));
    this.theme.setAttribute("aria-label", label);
    this.theme.title = label;
  }

  /** Say whether the live page hears from the server: "live", "lost" or nothing. */
  connection(state) {
    const texts = { live: "live", lost: "connection lost, trying again" };
    this.live.className = `connection ${state ?? ""}`;
    this.live.textContent = texts[state] ?? "";
    document.body.classList.toggle("lost", state === "lost");
  }
}

function figure(number, word) {
  const parts = new DocumentFragment();
  parts.append(el("strong", {}, count(number)), " ", el("span", {}, word));
  return parts;
}

function jump(id) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  document.getElementById(id)?.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
}
