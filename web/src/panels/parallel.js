// Parallel coordinates, drawn by ECharts; a range that is marked on an axis filters the run table.

import { ParallelChart } from "echarts/charts";
import { ParallelComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { announce, button, debounced, el, put, svg, whenNear } from "../dom.js";
import { command } from "../data/command.js";
import { count, general, plural, short } from "../data/format.js";
import { textOf } from "../data/model.js";
import { compare, isAbsent } from "../data/statistics.js";
import { ink, shade } from "../theme.js";
import { commandLine, panel, popover, select } from "./panel.js";
import { targetOf, targets } from "./target.js";

use([ParallelChart, ParallelComponent, CanvasRenderer]);

const MOST = 1000; // lines
const AXES = 8;
const CATEGORIES = 40;
const WIDE = 50; // largest over smallest, from which on an axis is logarithmic

export class Parallel {
  constructor(context) {
    Object.assign(this, context);
    this.panel = panel("parallel", "Parallel coordinates");
    this.node = this.panel.node;
    this.metric = select("Colour", [], null, (target) => this.store.set({ target }));
    this.chooser = popover("Axes", "columns", () => this.axisChoices());
    this.clear = button("Clear ranges", () => this.store.set({ brush: {} }), { class: "quiet", hidden: true });
    this.panel.tools.append(this.metric.node, this.chooser.node, this.clear);
    this.place = el("div", { class: "parallel", role: "img" });
    this.scale = el("div", { class: "colour-scale" });
    this.command = commandLine("parallel coordinates");
    const scroll = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "parallel coordinates, drawn" }, this.place);
    put(this.panel.body, scroll, this.scale, this.command.node);
    this.store.listen(["target", "axes", "q", "filters"], () => this.redraw());
    this.store.listen(["brush"], () => this.showBrush());
    this.brushLater = debounced(60, () => this.takeBrush());
  }

  start() {
    this.redraw(false);
    whenNear(this.node, () => this.redraw(true));
  }

  /** Draw what has changed on a live page, unless a range is being marked. */
  follow() {
    if (!this.place.matches(":active")) this.redraw();
  }

  /** Return the columns that have an axis. */
  axes() {
    const { model, store } = this;
    const target = targetOf(model, store);
    if (store.state.axes) return store.state.axes.map((id) => model.find(id)).filter(Boolean);
    const keys = model.keys.filter((column) => isDrawable(column)).slice(0, AXES - 1);
    return target ? [...keys, target] : keys;
  }

  axisChoices() {
    const { model, store } = this;
    const all = [...model.varying, ...targets(model)].filter((column) => isDrawable(column));
    const chosen = () => this.axes().map((column) => column.id);
    return all.map((column) => {
      const box = el("input", { type: "checkbox", checked: chosen().includes(column.id), on: {
        change: () => {
          const rest = chosen().filter((id) => id !== column.id);
          store.set({ axes: box.checked ? [...rest, column.id] : rest });
        } } });
      return el("div", { class: "choice" }, el("label", {}, box, el("span", {}, column.name)));
    });
  }

  redraw(isNear = this.chart !== undefined) {
    const { model, store } = this;
    const target = targetOf(model, store);
    const axes = this.axes();
    this.node.hidden = (!target && !store.state.axes) || axes.length < 2;
    if (this.node.hidden) return;
    const all = targets(model);
    this.metric.fill(all.map((column) => [column.key, column.name]), target?.key);
    this.command.show(this.commandText(), this.view.beyond);
    if (!isNear) return;
    this.drawn = this.lines(axes, target);
    const { rows, having } = this.drawn;
    this.panel.say(
      having > rows.length ? `The ${plural(rows.length, "best run")} of ${count(having)} that pass the filters.` : `${plural(rows.length, "run")}, one line each; those that failed have none.`,
      "Drag along an axis to mark a range: the run table shows what passes. By keyboard: Filters in the run table, such as 0.1..0.5.",
    );
    this.place.setAttribute("aria-label", `Parallel coordinates of ${plural(rows.length, "run")} over ${axes.map((one) => one.name).join(", ")}; the run table holds the same values.`);
    this.place.style.setProperty("min-width", `${axes.length * 92}px`);
    this.draw(axes, target);
    this.showScale(target);
    this.showBrush();
  }

  lines(axes, target) {
    const { status } = this.model.payload.runs;
    let rows = this.view.unbrushed.filter((at) => axes.filter((axis) => !isAbsent(axis.values[at])).length >= 2 && status[at] !== "failed");
    const having = rows.length;
    const known = target ? rows.filter((at) => Number.isFinite(target.values[at])) : [];
    if (target) {
      const sign = target.mode === "min" ? -1 : 1;
      const rank = (at) => (Number.isFinite(target.values[at]) ? sign * target.values[at] : -Infinity);
      rows = [...rows].sort((one, other) => rank(other) - rank(one)).slice(0, MOST).reverse();
    } else rows = rows.slice(0, MOST);
    const values = known.map((at) => target.values[at]).sort((one, other) => one - other);
    // A few runs that went astray must not take all of the colours.
    const low = values[Math.floor(values.length * 0.02)];
    const high = values[Math.ceil(values.length * 0.98) - 1];
    return { rows, having, low, high };
  }

  draw(axes, target) {
    const { rows, low, high } = this.drawn;
    if (this.chart?.isDisposed?.() !== false) {
      this.chart = init(this.place, null, { renderer: "canvas" });
      this.chart.on("axisareaselected", this.brushLater);
      new ResizeObserver(() => this.chart.resize()).observe(this.place);
    }
    this.described = axes.map((column, at) => axisOf(column, at, this.view.unbrushed));
    const share = (value) => (high > low ? (value - low) / (high - low) : 0.5);
    const many = rows.length > 200;
    const data = rows.map((at) => {
      const value = target?.values[at];
      return {
        value: this.described.map((axis) => axis.valueOf(at)),
        lineStyle: { color: Number.isFinite(value) ? shade(target.mode === "min" ? 1 - share(value) : share(value)) : ink("muted") },
      };
    });
    this.chart.setOption(
      {
        animation: false,
        parallel: { left: 36, right: 64, top: 44, bottom: 28, parallelAxisDefault: this.axisStyle() },
        parallelAxis: this.described.map((axis) => axis.option),
        series: [{ type: "parallel", data, smooth: false, lineStyle: { width: many ? 1 : 1.6, opacity: many ? 0.35 : 0.75 }, inactiveOpacity: 0.04, activeOpacity: many ? 0.6 : 0.95, progressive: 0 }],
      },
      { notMerge: true },
    );
  }

  axisStyle() {
    const text = ink("text");
    const muted = ink("muted");
    return {
      nameTextStyle: { color: text, fontSize: 12, fontFamily: "system-ui, sans-serif", fontWeight: 600 },
      nameGap: 16,
      nameTruncate: { maxWidth: 110, ellipsis: "\u2026" },
      axisLine: { lineStyle: { color: ink("line-strong"), width: 1 } },
      axisTick: { lineStyle: { color: ink("line-strong") } },
      axisLabel: { color: muted, fontSize: 11, fontFamily: "system-ui, sans-serif", formatter: (value) => labelOf(value), textBorderColor: ink("bg"), textBorderWidth: 3 },
      splitLine: { show: false },
      minorTick: { show: false },
      areaSelectStyle: { width: 18, borderWidth: 1, borderColor: ink("accent"), color: ink("accent"), opacity: 0.22 },
    };
  }

  showScale(target) {
    const { low, high } = this.drawn;
    if (!target || !Number.isFinite(low)) return put(this.scale);
    const stops = Array.from({ length: 24 }, (_, at) => svg("rect", { x: at * 6, y: 0, width: 6.5, height: 8, fill: shade(at / 23) }));
    const isMin = target.mode === "min";
    return put(this.scale, el("span", {}, target.name), el("span", {}, short(isMin ? high : low, true)),
      svg("svg", { viewBox: "0 0 144 8", width: 144, height: 8, "aria-hidden": "true" }, stops), el("span", {}, short(isMin ? low : high, true)),
      el("small", {}, target.mode ? "better to the right" : ""));
  }

  /** Take the ranges that were marked on the axes. */
  takeBrush() {
    const brush = {};
    const of = this.chart.getModel();
    this.described.forEach((axis, at) => {
      const intervals = of.getComponent("parallelAxis", at)?.activeIntervals ?? [];
      if (!intervals.length) return;
      const ranges = intervals.map((range) => [...range].sort((one, other) => one - other));
      if (axis.categories) brush[axis.column.id] = axis.categories.filter((_, place) => ranges.some(([low, high]) => place >= low && place <= high));
      else brush[axis.column.id] = ranges.map(([low, high]) => [Number(general(low, 4)), Number(general(high, 4))]);
    });
    const others = Object.fromEntries(Object.entries(this.store.state.brush).filter(([id]) => !this.described.some((axis) => axis.column.id === id)));
    this.isTaking = true;
    this.store.set({ brush: { ...others, ...brush } });
    this.isTaking = false;
    announce(`${plural(this.view.visible.length, "run")} of ${count(this.model.length)} pass`);
  }

  /** Mark the ranges of the state on the axes. */
  showBrush() {
    const { brush } = this.store.state;
    this.clear.hidden = !Object.keys(brush).length;
    this.command.show(this.commandText(), this.view.beyond);
    if (!this.chart || this.isTaking) return;
    this.described.forEach((axis, at) => {
      const ranges = Array.isArray(brush[axis.column.id]) ? brush[axis.column.id] : [];
      const intervals = axis.categories ? spans(ranges.map((text) => axis.categories.indexOf(text)).filter((place) => place >= 0)) : ranges.filter(Array.isArray);
      const now = this.chart.getModel().getComponent("parallelAxis", at)?.activeIntervals ?? [];
      if (!intervals.length && !now.length) return;
      this.chart.dispatchAction({ type: "axisAreaSelect", parallelAxisId: `a${at}`, intervals }, { silent: true });
    });
  }

  commandText() {
    const { state } = this.store;
    const target = targetOf(this.model, this.store);
    const keys = state.axes ? this.axes().filter((column) => column !== target).map((column) => column.name).join(",") : null;
    return command("parallel", this.model.payload.root, target?.name ?? null, ["--by", keys], ["--over", "none"], ...this.view.filterOptions(), ["-o", "parallel.pdf"]);
  }
}

function isDrawable(column) {
  return column.type === "number" || new Set(column.values.map(textOf)).size <= CATEGORIES;
}

const labelOf = (value) => {
  const text = typeof value === "number" ? general(value, 4) : String(value);
  return text.length > 14 ? `${text.slice(0, 13)}\u2026` : text;
};

function axisOf(column, at, runs) {
  const common = { dim: at, name: column.name, id: `a${at}` };
  if (column.type === "number") {
    const values = runs.map((run) => column.values[run]).filter(Number.isFinite);
    const low = values.reduce((least, value) => Math.min(least, value), Infinity);
    const high = values.reduce((most, value) => Math.max(most, value), -Infinity);
    const isLog = low > 0 && high / low >= WIDE;
    const option = isLog ? { type: "log", min: low, max: high } : { type: "value", scale: true };
    return { column, valueOf: (run) => column.values[run] ?? NaN, option: { ...common, ...option } };
  }
  const there = runs.map((run) => column.values[run]).filter((value) => !isAbsent(value));
  const categories = [...new Set([...there].sort(compare).map(textOf))];
  const place = new Map(categories.map((text, index) => [text, index]));
  return {
    column,
    categories,
    valueOf: (run) => (isAbsent(column.values[run]) ? NaN : place.get(textOf(column.values[run]))),
    option: { ...common, type: "category", data: categories },
  };
}

// Neighbouring places as ranges around them.
function spans(places) {
  const sorted = [...places].sort((one, other) => one - other);
  const list = [];
  for (const place of sorted) {
    const last = list.at(-1);
    if (last && place - last[1] <= 1) last[1] = place + 0.4;
    else list.push([place - 0.4, place + 0.4]);
  }
  return list;
}
