// Curves over steps: a mean with a band for each group of seeds, drawn by uPlot.

import { button, el, put, svg, whenNear } from "../dom.js";
import { command, flag } from "../data/command.js";
import { general, plural, short } from "../data/format.js";
import { aligned, curveGroups, keysOf, meanOf, shown } from "../data/curve_groups.js";
import { colour, dashes, faint, ink } from "../theme.js";
import { commandLine, panel, popover, select, toggle } from "./panel.js";
import { plot } from "./plot.js";

export class Curves {
  constructor(context) {
    Object.assign(this, context);
    this.panel = panel("curves", "Curves");
    this.node = this.panel.node;
    this.build();
    this.store.listen(["metric", "by", "xlog", "ylog", "smooth", "seeds", "q", "filters", "brush", "selected"], () => this.redraw());
    this.store.listen(["off", "only"], () => this.redraw());
  }

  build() {
    const { store } = this;
    this.metric = select("Metric", [], null, (metric) => store.set({ metric }));
    this.keys = popover("Group by", "layers", () => this.keyChoices());
    this.seeds = toggle("Single runs", store.state.seeds, (seeds) => store.set({ seeds }));
    this.xlog = toggle("log x", store.state.xlog, (xlog) => store.set({ xlog }));
    this.ylog = toggle("log y", store.state.ylog, (ylog) => store.set({ ylog }));
    this.slider = el("input", {
      type: "range", min: "0", max: "0.98", step: "0.02", "aria-label": "smoothing",
      on: { input: () => store.set({ smooth: Number(this.slider.value) }) },
    });
    this.slider.value = store.state.smooth;
    this.smooth = el("output", {});
    this.reset = button("Reset zoom", () => this.drawn?.reset(), { class: "quiet", hidden: true });
    this.panel.tools.append(this.metric.node, this.keys.node, this.seeds.node, this.xlog.node, this.ylog.node,
      el("label", { class: "field" }, el("span", {}, "Smoothing"), this.slider, this.smooth));
    this.place = el("div", { class: "plot" });
    this.legend = el("ul", { class: "legend", "aria-label": "curves; a click leaves one out" });
    this.at = el("p", { class: "at", "aria-live": "off" });
    this.data = el("details", { class: "as-data" });
    this.command = commandLine("the curves");
    put(this.panel.body, this.place, el("div", { class: "legend-head" }, this.at, this.reset), this.legend, this.data, this.command.node);
  }

  start() {
    this.fillMetrics();
    this.redraw(false);
    whenNear(this.node, () => this.redraw(true));
  }

  fillMetrics() {
    const names = [...this.model.seriesOf.keys()].sort();
    this.node.hidden = !names.length;
    this.metric.fill(names, this.currentMetric());
  }

  currentMetric() {
    const { seriesOf, payload } = this.model;
    const { metric } = this.store.state;
    if (metric && seriesOf.has(metric)) return metric;
    const wanted = payload.default_metric;
    const names = [...seriesOf.keys()].sort();
    return names.find((name) => name === wanted) ?? names.find((name) => name.endsWith(`/${wanted}`)) ?? names[0] ?? null;
  }

  /** Draw what has changed on a live page. */
  follow() {
    this.fillMetrics();
    this.redraw();
  }

  keyChoices() {
    const { store, model } = this;
    const chosen = () => keysOf(model, store.state.by).map((column) => column.id);
    const columns = [...model.varying, ...["function", "code", "group"].map((id) => model.byId.get(id)).filter((column) => new Set(column.values).size > 1)];
    return columns.map((column) => {
      const box = el("input", { type: "checkbox", checked: chosen().includes(column.id), on: {
        change: () => {
          const rest = chosen().filter((id) => id !== column.id);
          store.set({ by: box.checked ? [...rest, column.id] : rest, off: [], only: null });
        } } });
      return el("div", { class: "choice" }, el("label", {}, box, el("span", {}, column.name)), column.seed ? el("small", {}, "seed") : null);
    });
  }

  /** Return the runs whose curves are drawn: those selected, else those that pass the filters. */
  runs() {
    const { selected } = this.store.state;
    const { visible } = this.view;
    if (!selected.length) return visible;
    const names = new Set(selected);
    return visible.filter((at) => names.has(this.model.payload.runs.name[at]));
  }

  redraw(isNear = this.hasDrawn) {
    this.describeTools();
    const { state } = this.store;
    const metric = this.currentMetric();
    this.node.hidden = metric === null;
    if (metric === null) return;
    if (!isNear) {
      this.showCommand(metric, null);
      return;
    }
    this.hasDrawn = true;
    const of = curveGroups(this.model, this.runs(), metric, state.by);
    this.showCommand(metric, of);
    const lines = this.lines(of.groups);
    this.draw(lines, metric);
    this.sayWhat(of, lines, metric);
  }

  lines(groups) {
    const { state } = this.store;
    return groups.map((group, at) => {
      const mean = group.curves.length > 1 ? meanOf(group) : null;
      const [single] = group.curves;
      const isOff = state.only !== null ? state.only !== group.key : state.off.includes(group.key);
      return { ...group, at, isOff, mean, line: mean ? { x: mean.x, y: mean.mean } : { x: single.x, y: single.y } };
    });
  }

  draw(lines, metric) {
    const { state } = this.store;
    const parts = [];
    for (const line of lines) {
      if (line.isOff) continue;
      const ink_ = colour(line.at);
      const isBehind = state.seeds && line.mean;
      if (isBehind) for (const curve of line.curves) parts.push({ ...shown(curve.x, curve.y, { ...state, smooth: 0 }), stroke: faint(ink_, 0.32), width: 1 });
      if (state.smooth > 0 && !isBehind) parts.push({ ...shown(line.line.x, line.line.y, { ...state, smooth: 0 }), stroke: faint(ink_, 0.3), width: 1 });
      const main = { ...shown(line.line.x, line.line.y, state), stroke: ink_, width: 2, dash: dashes(line.at), line };
      if (line.mean && line.mean.low.some((value) => value !== null)) {
        main.low = shown(line.mean.x, line.mean.low, state);
        main.high = shown(line.mean.x, line.mean.high, state);
        main.fill = faint(ink_, 0.16);
      }
      parts.push(main);
    }
    const data = aligned(parts.flatMap((part) => (part.low ? [part, part.low, part.high] : [part])));
    const before = this.drawn?.state();
    this.drawn?.destroy();
    this.values = new Map();
    this.last = new Map(parts.filter((part) => part.line).map((part) => [part.line.key, part.y.findLast(Number.isFinite)]));
    this.legendOf(lines);
    this.drawn = plot(this.place, parts, data, {
      state, metric, grid: ink("grid"), text: ink("muted"),
      label: this.alternative(lines, metric),
      onHover: (at, values) => this.hover(at, values),
      onZoom: (isZoomed) => { this.reset.hidden = !isZoomed; },
    });
    this.reset.hidden = true;
    this.drawn.restore(before);
    this.asData(lines, metric);
  }

  legendOf(lines) {
    const { store } = this;
    put(this.legend, lines.map((line) => {
      const value = el("span", { class: "value" });
      this.values.set(line.key, value);
      const swatch = svg("svg", { class: "swatch", viewBox: "0 0 26 8", "aria-hidden": "true" },
        svg("line", { x1: 1, x2: 25, y1: 4, y2: 4, stroke: colour(line.at), "stroke-width": 2.5, "stroke-dasharray": dashes(line.at).join(" ") || null }));
      const { state } = store;
      const out = button("", () => {
        const rest = state.off.filter((key) => key !== line.key);
        if (store.state.only !== null) store.set({ only: null, off: [] });
        else store.set({ off: rest.length === state.off.length ? [...state.off, line.key] : rest });
      }, { class: "series", "aria-pressed": String(!line.isOff), title: "Click: leave out" });
      const n = line.curves.length;
      out.append(swatch, el("span", { class: "label" }, line.label), el("span", { class: "n" }, n > 1 ? `n=${n}` : ""), value);
      const only = button("only", () => store.set({ only: state.only === line.key ? null : line.key }), { class: "only quiet", "aria-label": `only ${line.label}` });
      return el("li", { class: line.isOff ? "off" : "" }, out, lines.length > 1 ? only : null);
    }));
    this.hover(null, null);
  }

  hover(step, values) {
    const { smooth } = this.store.state;
    const isSmooth = smooth > 0 ? `, smoothed ${smooth.toFixed(2)}` : "";
    this.at.textContent = step === null ? `Last values${isSmooth}. Move over the plot, or focus it and use the arrow keys.` : `Step ${general(step, 8)}${isSmooth}`;
    for (const [key, node] of this.values) {
      const value = (values ?? this.last).get(key);
      node.textContent = short(value ?? null, true);
    }
  }

  sayWhat(of, lines, metric) {
    const { curves } = this.model.payload;
    const { state } = this.store;
    const means = lines.filter((line) => line.mean);
    const series = this.model.seriesOf.get(metric);
    const thinned = [...series.values()].filter((one) => one.of > one.x.length).length;
    this.panel.say(
      means.length ? `Mean over ${of.over.join(", ") || "repeated runs"}; the band is \u00b1 1 standard deviation.` : "",
      of.failed ? `${plural(of.failed, "run")} that failed ${of.failed === 1 ? "is" : "are"} left out.` : "",
      means.some((line) => line.mean.fewer) ? "Only steps that all runs of a group have count; its mean ends where one ends." : "",
      means.some((line) => line.mean.drawn) ? "Curves that were thinned have few steps in common: means follow straight lines between the points that were kept." : "",
      thinned ? `${plural(thinned, "curve was", "curves were")} thinned to at most ${curves.most} points, the smallest and the largest of each stretch.` : "",
      curves.left_out ? `${plural(curves.left_out, "curve")} of further runs ${curves.left_out === 1 ? "is" : "are"} not in this file.` : "",
      of.left ? `The first ${of.groups.length} of ${of.groups.length + of.left} groups; select rows, filter or choose fewer keys to see others.` : "",
      state.smooth > 0 ? `Smoothed: exponential mean with weight ${state.smooth.toFixed(2)}; the data stand thin behind.` : "",
      state.ylog || state.xlog ? "Log axes leave out what is not above zero." : "",
      lines.length ? "" : "No run that is shown has this curve.",
    );
  }

  // A command names the statuses that count where the page leaves out runs that failed.
  showCommand(metric, of) {
    const beyond = this.store.state.selected.length ? ["the selection"] : [...this.view.beyond];
    const leavesOut = of !== null && of.failed > 0;
    const canSay = leavesOut && !of.statuses.includes("failed");
    if (leavesOut && !canSay) beyond.push("leaving out runs that failed beside others");
    this.command.show(this.commandText(metric, canSay ? of.statuses.join(",") : null), beyond);
  }

  commandText(metric, statuses) {
    const { state } = this.store;
    const filters = this.view.filterOptions().map(([option, text]) => [option, option === "--status" && statuses ? statuses : text]);
    const by = state.by === null ? null : keysOf(this.model, state.by).map((column) => column.name).join(",");
    return command("curves", this.model.payload.root, metric, ["--by", by],
      flag("--raw", state.seeds), flag("--logx", state.xlog), flag("--logy", state.ylog), ["--smooth", state.smooth > 0 ? state.smooth.toFixed(2) : null],
      ...filters, ["-o", "curves.pdf"]);
  }

  describeTools() {
    const { state } = this.store;
    this.metric.box.value = this.currentMetric() ?? "";
    this.seeds.set(state.seeds);
    this.xlog.set(state.xlog);
    this.ylog.set(state.ylog);
    this.slider.value = state.smooth;
    this.smooth.textContent = state.smooth > 0 ? state.smooth.toFixed(2) : "off";
  }

  alternative(lines, metric) {
    const drawn = lines.filter((line) => !line.isOff);
    const texts = drawn.slice(0, 6).map((line) => `${line.label} ends at ${short(line.end, true)}`);
    return `${metric} over steps, ${plural(drawn.length, "curve")}: ${texts.join("; ")}. The values stand in the table below.`;
  }

  asData(lines, metric) {
    const rows = lines.map((line) => {
      const values = line.line.y.filter(Number.isFinite);
      const last = values.at(-1);
      const cells = [line.label, line.curves.length, line.line.x.length, values.reduce((least, value) => Math.min(least, value), Infinity), values.reduce((most, value) => Math.max(most, value), -Infinity), last];
      return el("tr", {}, cells.map((cell, at) => el(at ? "td" : "th", at ? {} : { scope: "row" }, at ? short(Number.isFinite(cell) ? cell : null, true) : cell)));
    });
    const heads = ["curve", "runs", "steps", "smallest", "largest", "last"];
    put(this.data, el("summary", {}, "The curves as a table"),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${metric} as a table` }, el("table", {},
        el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, rows))));
  }
}
