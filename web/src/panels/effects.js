// Main effects: for each key, the mean of a metric at each of its values, with an interval.

import { el, icon, put, svg } from "../dom.js";
import { command } from "../data/command.js";
import { plural, short, withSpread } from "../data/format.js";
import { commandLine, panel, select } from "./panel.js";
import { chosenAmong } from "./target.js";
import { textOf } from "../data/model.js";

const MOST = 12; // values of a key

export class Effects {
  constructor(context) {
    Object.assign(this, context);
    this.panel = panel("effects", "Main effects");
    this.node = this.panel.node;
    this.part = "effects"; // of the payload
    this.metric = select("Metric", [], null, (target) => this.store.set({ target }));
    this.panel.tools.append(this.metric.node);
    this.place = el("div", { class: "effects" });
    this.command = commandLine("the main effects");
    put(this.panel.body, this.place, this.command.node);
    this.store.listen(["target"], () => this.refresh());
  }

  start() {
    this.refresh();
  }

  refresh() {
    const { effects, root } = this.model.payload;
    this.node.hidden = !effects.length;
    if (!effects.length) return;
    const metric = chosenAmong(effects, this.metric, this.model, this.store);
    const mine = effects.filter((effect) => effect.metric === metric).sort((one, other) => other.range - one.range);
    const column = this.model.metrics.find((one) => one.key === metric);
    const better = column?.mode ? `; ${column.mode === "max" ? "higher" : "lower"} is better` : "";
    this.panel.say(`Mean of ${metric} at each value, over all else, with its 95 % interval; seeds are averaged first${better}. The keys that change it most come first.`);
    put(this.place, mine.map((effect) => this.effect(effect, scaleOf(mine), column)));
    this.command.show(command("effects", root, metric, ["-o", "effects.pdf"]));
  }

  effect(effect, scale, column) {
    const levels = effect.levels.slice(0, MOST);
    const best = column?.mode && bestOf(levels, column.mode);
    const rows = levels.map((level) => el("tr", { class: level === best ? "best" : "" },
      el("th", { scope: "row", title: textOf(level.value) }, short(level.value)),
      el("td", { class: "track" }, track(level, levels, scale, level === best)),
      el("td", { class: "number" }, meanText(level), level === best ? el("span", { class: "sr" }, " best") : null),
      el("td", { class: "n" }, `n=${level.n}`)));
    const more = effect.levels.length - levels.length;
    return el("div", { class: "effect" },
      el("h3", {}, el("span", {}, effect.key), el("small", {}, `range ${short(effect.range, true)}`)),
      el("table", {}, el("caption", { class: "sr" }, `${effect.metric} by ${effect.key}`),
        el("colgroup", {}, ["level", "track", "number", "n"].map((one) => el("col", { class: `of-${one}` }))),
        el("thead", { class: "sr" }, el("tr", {}, [effect.key, "interval", "mean", "settings"].map((head) => el("th", { scope: "col" }, head)))),
        el("tbody", {}, rows)),
      more > 0 ? el("p", { class: "muted" }, `${plural(more, "value")} more`) : null,
      effect.notes?.length ? el("p", { class: "muted effect-notes" }, `${effect.notes.join("; ")}.`) : null,
      effect.interacts.map((text) => el("p", { class: "interacts" }, icon("warn"), el("span", {}, /^[\w.-]+$/.test(text) ? `Its effect depends on ${text}.` : text))));
  }
}

function meanText(level) {
  const half = level.low === null || level.high === null ? null : (level.high - level.low) / 2;
  return withSpread(level.mean, half);
}

function scaleOf(effects) {
  const ends = effects.flatMap((effect) => effect.levels.flatMap((level) => [level.mean, level.low ?? level.mean, level.high ?? level.mean]));
  const low = Math.min(...ends);
  const high = Math.max(...ends);
  const room = (high - low) * 0.04 || 1;
  return { low: low - room, high: high + room };
}

function bestOf(levels, mode) {
  return [...levels].sort((one, other) => (mode === "max" ? other.mean - one.mean : one.mean - other.mean))[0];
}

function track(level, levels, scale, isBest) {
  const x = (value) => `${(100 * (value - scale.low)) / (scale.high - scale.low)}%`;
  const means = levels.map((one) => one.mean);
  const interval = level.low === null || level.high === null ? null : svg("line", { class: "interval", x1: x(level.low), x2: x(level.high), y1: 11, y2: 11 });
  return svg("svg", { class: isBest ? "dumbbell best" : "dumbbell", width: "100%", height: 22, "aria-hidden": "true" },
    svg("line", { class: "span", x1: x(Math.min(...means)), x2: x(Math.max(...means)), y1: 11, y2: 11 }),
    interval,
    svg("circle", { cx: x(level.mean), cy: 11, r: 5 }));
}
