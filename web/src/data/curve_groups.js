// Curves of groups: the mean and the spread at the steps that all seeds of a group have.

import { grouped } from "./view.js";
import { compare, isAbsent, smoothed } from "./statistics.js";

const MOST = 16; // groups that are drawn
const FEW = 3; // steps that all seeds have, below which there is no mean worth drawing

/** Return the keys that curves are grouped by. */
export function keysOf(model, by) {
  if (by === null) return model.keys;
  return by.map((id) => model.find(id)).filter((column) => column && column.part !== "metrics");
}

/** Return which of some runs have a curve of a metric, in groups, in the order of their values.
 *
 * Runs that failed are left out beside others that did not: their curves end early.
 */
export function curveGroups(model, runs, metric, by) {
  const series = model.seriesOf.get(metric) ?? new Map();
  const { status } = model.payload.runs;
  const having = runs.filter((at) => series.has(at));
  const keys = keysOf(model, by);
  let failed = 0;
  const counting = new Set(); // statuses of the runs that count
  const groups = grouped(model, having, keys).map((group) => {
    const well = group.runs.filter((at) => status[at] !== "failed");
    const counted = well.length ? well : group.runs;
    failed += group.runs.length - counted.length;
    for (const at of counted) counting.add(status[at]);
    const curves = latest(model, counted).map((at) => ({ at, ...series.get(at) }));
    return { key: group.key, label: group.key, first: group.runs[0], curves, end: endOf(curves) };
  });
  groups.sort((one, other) => byValues(keys, one.first, other.first));
  const over = model.varying.filter((column) => !keys.includes(column)).map((column) => column.name);
  return { groups: groups.slice(0, MOST), left: Math.max(0, groups.length - MOST), over, failed, statuses: [...counting].sort() };
}

function byValues(keys, one, other) {
  for (const { values } of keys) {
    const [left, right] = [values[one], values[other]];
    if (isAbsent(left) || isAbsent(right)) {
      if (isAbsent(left) !== isAbsent(right)) return isAbsent(left) ? 1 : -1;
    } else if (compare(left, right)) return compare(left, right);
  }
  return one - other;
}

// Of runs with the same configuration, seed included, the latest counts.
function latest(model, runs) {
  const { started } = model.payload.runs;
  const byAll = new Map();
  for (const at of runs) {
    const key = model.label(at, model.config);
    const known = byAll.get(key);
    if (known === undefined || (started[at] ?? 0) >= (started[known] ?? 0)) byAll.set(key, at);
  }
  return [...byAll.values()];
}

function endOf(curves) {
  const ends = curves.map((curve) => curve.y.findLast((value) => value !== null)).filter(Number.isFinite);
  return ends.length ? ends.reduce((sum, value) => sum + value, 0) / ends.length : null;
}

/** Return the mean, the band and n of a group by step, and what has to be said of them. */
export function meanOf(group) {
  const { curves } = group;
  const maps = curves.map((curve) => new Map(curve.x.map((x, at) => [x, curve.y[at]])));
  let steps = [];
  if (curves.length) {
    const [least] = [...curves].sort((one, other) => one.x.length - other.x.length);
    steps = least.x.filter((x) => maps.every((map) => map.has(x) && map.get(x) !== null));
  }
  const isThinned = curves.some((curve) => curve.of > curve.x.length);
  const longest = Math.max(0, ...curves.map((curve) => curve.x.length));
  if (isThinned && curves.length > 1 && steps.length < longest / 3) return alongThinned(curves);
  return { ...atSteps(steps, (x) => maps.map((map) => map.get(x))), drawn: false, fewer: steps.length < longest, too: steps.length < FEW };
}

function atSteps(steps, valuesAt) {
  const mean = [];
  const low = [];
  const high = [];
  for (const x of steps) {
    const values = valuesAt(x);
    const n = values.length;
    const middle = values.reduce((sum, value) => sum + value, 0) / n;
    const squares = values.reduce((sum, value) => sum + (value - middle) ** 2, 0);
    const std = n > 1 ? Math.sqrt(squares / (n - 1)) : null;
    mean.push(middle);
    low.push(std === null ? null : middle - std);
    high.push(std === null ? null : middle + std);
  }
  return { x: steps, mean, low, high };
}

// Curves that were thinned on their own have few steps in common: straight lines between the points
// that were kept stand in, over the steps that all of them span. The page says so.
function alongThinned(curves) {
  const clean = curves.map((curve) => {
    const keep = curve.x.map((_, at) => at).filter((at) => curve.y[at] !== null);
    return { x: keep.map((at) => curve.x[at]), y: keep.map((at) => curve.y[at]) };
  });
  if (clean.some((curve) => !curve.x.length)) return { x: [], mean: [], low: [], high: [], drawn: false, fewer: true, too: true };
  const from = Math.max(...clean.map((curve) => curve.x[0]));
  const to = Math.min(...clean.map((curve) => curve.x.at(-1)));
  const steps = [...new Set(clean.flatMap((curve) => curve.x))].filter((x) => x >= from && x <= to).sort((one, other) => one - other);
  const places = clean.map(() => 0);
  const of = atSteps(steps, (x) => clean.map((curve, which) => {
    while (places[which] < curve.x.length - 2 && curve.x[places[which] + 1] < x) places[which] += 1;
    return between(curve, places[which], x);
  }));
  return { ...of, drawn: true, fewer: false, too: false };
}

function between(curve, at, x) {
  if (curve.x.length === 1) return curve.y[0];
  const [left, right] = [curve.x[at], curve.x[at + 1]];
  if (x <= left) return curve.y[at];
  if (x >= right) return curve.y[at + 1];
  return curve.y[at] + ((curve.y[at + 1] - curve.y[at]) * (x - left)) / (right - left);
}

/** Return curves as uPlot takes them: one list of steps, and a list of values for each. */
export function aligned(lines) {
  const steps = [...new Set(lines.flatMap((line) => line.x))].sort((one, other) => one - other);
  const place = new Map(steps.map((x, at) => [x, at]));
  const lists = lines.map((line) => {
    // undefined: a step of others; null: no number there, a gap.
    const list = new Array(steps.length).fill(undefined);
    line.x.forEach((x, at) => {
      list[place.get(x)] = line.y[at];
    });
    return list;
  });
  return [steps, ...lists];
}

/** Return a line that is smoothed and has only what its axes can show. */
export function shown(x, y, state) {
  let values = smoothed(y, state.smooth);
  if (state.ylog) values = values.map((value) => (value > 0 ? value : null));
  if (!state.xlog) return { x, y: values };
  const keep = x.map((_, at) => at).filter((at) => x[at] > 0);
  return { x: keep.map((at) => x[at]), y: keep.map((at) => values[at]) };
}
