// The best configurations over their seeds.

import { button, el, put } from "../dom.js";
import { command, flag } from "../data/command.js";
import { inShort, short, withSpread } from "../data/format.js";
import { NARROW } from "./cells.js";
import { commandLine, panel, select } from "./panel.js";
import { chosenAmong } from "./target.js";

const MOST = 10;

export class Best {
  constructor(context) {
    Object.assign(this, context);
    this.panel = panel("best", "Best configurations");
    this.node = this.panel.node;
    this.part = "best"; // of the payload
    this.metric = select("Metric", [], null, (target) => this.store.set({ target }));
    this.panel.tools.append(this.metric.node);
    this.place = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "best configurations, as a table" });
    this.command = commandLine("the best configurations");
    put(this.panel.body, this.place, this.command.node);
    this.store.listen(["target"], () => this.refresh());
  }

  start() {
    this.refresh();
  }

  refresh() {
    const { best, root } = this.model.payload;
    this.node.hidden = !best.length;
    if (!best.length) return;
    const metric = chosenAmong(best, this.metric, this.model, this.store);
    const rows = best.filter((one) => one.metric === metric).slice(0, MOST);
    const column = this.model.metrics.find((one) => one.key === metric);
    const direction = column?.mode ? `${column.mode === "max" ? "Highest" : "Lowest"} mean of ${metric} first${column.source ? ` (${column.source})` : ""}. ` : "";
    this.panel.say(`${direction}Mean \u00b1 standard deviation over seeds, of runs that succeeded.`);
    const keys = [...new Set(rows.flatMap((row) => Object.keys(row.values)))];
    const head = [keys.map((key) => el("th", { scope: "col" }, key)), el("th", { scope: "col", class: "number" }, metric)];
    put(this.place, el("table", { class: "plain" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "number" }, "#"), inOrder(head), el("th", { scope: "col", class: "number" }, "n"), el("th", { scope: "col" }, "seeds"), el("th", { scope: "col" }, el("span", { class: "sr" }, "actions")))),
      el("tbody", {}, rows.map((row, at) => this.row(row, at, keys)))));
    this.command.show(command("best", root, metric, column?.mode ? null : flag("--max")));
  }

  row(row, at, keys) {
    const { name } = this.model.payload.runs;
    const select_ = () => {
      this.store.set({ selected: row.runs.map((run) => name[run]) });
      document.getElementById("curves").scrollIntoView({ block: "start" });
    };
    return el("tr", {},
      el("td", { class: "number muted" }, at + 1),
      inOrder([keys.map((key) => el("td", {}, short(row.values[key]))), el("td", { class: "number strong" }, withSpread(row.mean, row.std))]),
      el("td", { class: "number" }, row.n),
      el("td", { class: "muted" }, inShort(row.seeds.map((seed) => (typeof seed === "object" ? JSON.stringify(seed) : String(seed))))),
      el("td", {}, button(curvesOf(at + 1), select_, { class: "quiet" })));
  }
}

// Where there is little room, the number stands before the keys: it must not be cut.
const inOrder = (cells) => (innerWidth < NARROW ? cells.reverse() : cells);

function curvesOf(rank) {
  const parts = new DocumentFragment();
  parts.append("Show curves", el("span", { class: "sr" }, ` of configuration ${rank}`));
  return parts;
}
