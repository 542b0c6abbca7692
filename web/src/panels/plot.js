// A uPlot chart of lines with bands, that answers to the mouse and the arrow keys.

import uPlot from "uplot";
import { general } from "../data/format.js";

const HEIGHT = 340;

/** Draw lines; return how to undo the zoom and how to take the chart away. */
export function plot(place, parts, data, options) {
  const { state, label, onHover, onZoom } = options;
  const series = [{}];
  const bands = [];
  const main = [];
  for (const part of parts) {
    const at = series.length;
    series.push({ stroke: part.stroke, width: part.width, dash: part.dash?.length ? part.dash : undefined, points: { show: part.x.length === 1 }, spanGaps: false });
    if (part.line) main.push([part.line.key, at]);
    if (part.low) {
      series.push({ stroke: "transparent", width: 0, points: { show: false } }, { stroke: "transparent", width: 0, points: { show: false } });
      bands.push({ series: [at + 2, at + 1], fill: part.fill });
    }
  }
  const axis = (more) => ({ stroke: options.text, font: "12px system-ui, sans-serif", grid: { stroke: options.grid, width: 1 }, ticks: { stroke: options.grid, width: 1, size: 4 }, ...more });
  const whole = (_, splits) => splits.map((value) => (value === null ? null : general(value, 6)));
  const width = () => Math.max(240, place.clientWidth);
  const chart = new uPlot(
    {
      width: width(),
      height: HEIGHT,
      padding: [12, 16, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: true, y: false }, points: { size: 7 } },
      scales: { x: { time: false, distr: state.xlog ? 3 : 1 }, y: { distr: state.ylog ? 3 : 1 } },
      axes: [axis({ values: whole, size: 34 }), axis({ size: 62, values: state.ylog ? sparse : whole })],
      series,
      bands,
      hooks: {
        setCursor: [(self) => hover(self)],
        setScale: [(self, key) => key === "x" && zoomed(self)],
      },
    },
    data,
    place,
  );
  function hover(self) {
    const at = self.cursor.idx;
    if (at === null || at === undefined || self.cursor.left < 0) return onHover(null, null);
    return onHover(self.data[0][at], new Map(main.map(([key, which]) => [key, self.data[which][at]])));
  }
  function zoomed(self) {
    const steps = self.data[0];
    const { min, max } = self.scales.x;
    onZoom(steps.length > 0 && (min > steps[0] || max < steps.at(-1)));
  }
  const node = chart.root;
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", label);
  node.tabIndex = 0;
  node.addEventListener("keydown", (event) => byKey(event, chart));
  node.addEventListener("blur", () => chart.setCursor({ left: -10, top: -10 }));
  const watcher = new ResizeObserver(() => chart.width !== width() && chart.setSize({ width: width(), height: HEIGHT }));
  watcher.observe(place);
  const zoom = () => ({ min: chart.scales.x.min, max: chart.scales.x.max });
  const isZoomed = () => {
    const steps = data[0];
    const { min, max } = zoom();
    return steps.length > 0 && (min > steps[0] || max < steps.at(-1));
  };
  return {
    chart,
    /** Return what a chart of the same metric takes over. */
    state: () => ({
      of: `${options.metric} ${state.xlog}`,
      zoom: isZoomed() ? zoom() : null,
      cursor: { left: chart.cursor.left, top: chart.cursor.top },
      isFocused: document.activeElement === node,
    }),
    restore(before) {
      if (!before || before.of !== `${options.metric} ${state.xlog}`) return;
      if (before.zoom) chart.setScale("x", before.zoom);
      if (before.cursor.left >= 0) chart.setCursor(before.cursor);
      if (before.isFocused) node.focus({ preventScroll: true });
    },
    reset: () => chart.setScale("x", { min: data[0][0], max: data[0].at(-1) }),
    destroy: () => {
      watcher.disconnect();
      chart.destroy();
    },
  };
}

// On a logarithmic axis only powers of ten have room.
function sparse(_, splits) {
  const isPower = (value) => value > 0 && Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;
  const powers = splits.filter(isPower).length;
  return splits.map((value) => (value === null || (powers > 1 && !isPower(value)) ? "" : general(value, 4)));
}

function byKey(event, chart) {
  const steps = chart.data[0];
  const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
  if (event.key === "Escape") return chart.setCursor({ left: -10, top: -10 });
  const move = moves[event.key];
  if (move === undefined || !steps.length) return undefined;
  event.preventDefault();
  const from = chart.cursor.left < 0 || chart.cursor.idx === null ? (move > 0 ? -1 : steps.length) : chart.cursor.idx;
  const to = Math.min(steps.length - 1, Math.max(0, from + move));
  return chart.setCursor({ left: chart.valToPos(steps[to], "x"), top: 20 });
}
