// What stands in the cells of the run table.

import { el, icon, words } from "../dom.js";
import { clock, date, fixed, inShort, short, withSpread } from "../data/format.js";
import { isAbsent } from "../data/statistics.js";
import { badge } from "./panel.js";

const MOST = 24; // columns of keys, and of metrics, that are shown at first
export const NARROW = 560; // of the window
const SHOWN = 300; // characters of a long value

/** Return the columns that are shown unless the reader chooses others. */
export function usualColumns(model, withConstant) {
  const columns = [model.byId.get("run"), model.byId.get("status")];
  for (const part of [model.config, model.metrics]) columns.push(...part.filter((column) => column.varies || withConstant).slice(0, MOST));
  const target = model.metrics.find((column) => column.key === model.payload.default_metric);
  if (target && !columns.includes(target)) columns.push(target);
  if (model.mixedFunction) columns.push(model.byId.get("function"));
  if (model.mixedCode) columns.push(model.byId.get("code"));
  if (model.hasTags) columns.push(model.byId.get("tags"));
  columns.push(model.byId.get("seconds"), model.byId.get("started"));
  if (model.hasErrors) columns.push(model.byId.get("error"));
  return columns;
}

/** Return the text of a run's value in a column. */
export function textIn(column, at) {
  const value = column.values[at];
  if (column.id === "seconds") return clock(value);
  if (column.id === "started") return date(value);
  if (column.id === "tags") return (value ?? []).join(", ");
  if (column.id === "error") return value ?? "";
  if (column.part === "metrics" && typeof value === "number") {
    const decimals = decimalsOf(column);
    if (decimals !== null) return fixed(value, decimals);
  }
  return short(value, column.part === "metrics");
}

// Numbers of a metric get the same digits after the point where four significant ones of the
// smallest and six of the largest allow it, so that they can be compared line by line.
function decimalsOf(column) {
  if (column.decimals === undefined || column.sized !== column.values.length) {
    const sizes = column.values.filter((value) => Number.isFinite(value) && value !== 0).map(Math.abs);
    const largest = sizes.reduce((most, value) => Math.max(most, value), 0);
    const smallest = sizes.reduce((least, value) => Math.min(least, value), Infinity);
    const whole = column.values.every((value) => value === null || Number.isInteger(value));
    const decimals = 3 - Math.floor(Math.log10(smallest));
    const fits = largest / smallest < 101 && largest < 1e5 && decimals >= 0 && decimals <= 8;
    column.decimals = !whole && fits ? decimals : null;
    column.sized = column.values.length;
  }
  return column.decimals;
}

/** Return whether a column stands at the right. */
export function isNumber(column) {
  return column.type === "number" && column.id !== "started";
}

/** Return the cell of a single run. */
export function runCell(column, row, context) {
  const { at } = row;
  if (column.id === "run") return nameOfRun(row, context);
  if (column.id === "status") return badge(column.values[at]);
  if (column.id === "tags") {
    return el("span", { class: "tags" }, (column.values[at] ?? []).map((tag) => el("span", { class: "tag" }, tag)));
  }
  const text = textIn(column, at);
  if (column.part === "metrics" && text && context.model.payload.live && isLogged(context.model.payload.runs.status[at]) && !isAbsent(column.values[at])) {
    return el("span", { class: "logged", title: "as logged last: the run has not succeeded" }, text);
  }
  return words(text.length > SHOWN ? `${text.slice(0, SHOWN)}\u2026` : text);
}

/** Return whether what a live page shows of a run's metrics is what it has logged last. */
export function isLogged(status) {
  return status === "running" || status === "failed";
}

/** Return whether rows have a second line: where there is room for few columns. */
export function hasSecondLine(model) {
  model.twoLines ??= innerWidth < NARROW; // for good: rows have one height
  return model.twoLines;
}

function secondLine(model, at, columns) {
  if (!hasSecondLine(model)) return null;
  const texts = columns.filter((column) => !isAbsent(column.values[at])).map((column) => textIn(column, at));
  return el("span", { class: "second" }, texts.join(" \u00b7 "));
}

function nameOfRun(row, context) {
  const { runs } = context.model.payload;
  const name = runs.name[row.at];
  const label = `open run ${runs.id[row.at]}`;
  const box = el("input", {
    type: "checkbox",
    tabindex: "-1",
    "aria-label": `select run ${runs.id[row.at]}`,
    checked: context.isSelected(name),
    data: { select: name },
  });
  const open = el("button", { type: "button", class: "run-link", tabindex: "-1", "aria-label": label, data: { run: name } }, runs.id[row.at]);
  return el("span", { class: row.inGroup ? "run-cell inner" : "run-cell" }, box, el("span", { class: "named" }, open, secondLine(context.model, row.at, context.model.varying)));
}

/** Return the cell of a group of seeds. */
export function groupCell(column, row, context) {
  const { group } = row;
  if (column.id === "run") return nameOfGroup(row, context);
  if (column.id === "status") return statusOfGroup(group, context.model);
  if (column.id === "tags" || column.id === "error") return sameInAll(column, group, "");
  if (column.id === "started") return words(date(group.value(column)));
  if (column.seed) return el("span", { class: "muted" }, inShort(group.seeds) || "\u2013");
  if (column.id === "seconds") {
    const { mean } = group.over(column);
    return words(mean === null ? "\u2013" : `${clock(mean)}`);
  }
  if (column.part === "metrics" && column.type !== "text") return metricOfGroup(column, group);
  return sameInAll(column, group, "\u2013");
}

function nameOfGroup(row, context) {
  const { group } = row;
  const isOpen = context.isOpen(group.key);
  const n = group.runs.length;
  const label = `${isOpen ? "close" : "open"} ${n} runs of ${group.key}`;
  const opener = el(
    "button",
    { type: "button", class: "group-link", tabindex: "-1", "aria-expanded": String(isOpen), "aria-label": label, data: { group: group.key } },
    icon(isOpen ? "down" : "right"),
    `${n} ${n === 1 ? "run" : "runs"}`,
  );
  const all = group.runs.every((at) => context.isSelected(context.model.payload.runs.name[at]));
  const box = el("input", {
    type: "checkbox",
    tabindex: "-1",
    "aria-label": `select all runs of ${group.key}`,
    checked: all,
    data: { selectGroup: group.key },
  });
  const code = context.view.differsInCode(group) ? el("span", { class: "tag" }, context.model.payload.runs.code[group.runs[0]] ?? "code not known") : null;
  return el("span", { class: "run-cell" }, box, el("span", { class: "named" }, el("span", { class: "run-cell" }, opener, code), secondLine(context.model, group.runs[0], context.model.keys)));
}

function statusOfGroup(group, model) {
  const { status } = model.payload.runs;
  const counts = new Map();
  for (const at of group.runs) counts.set(status[at], (counts.get(status[at]) ?? 0) + 1);
  if (counts.size === 1 && counts.has("succeeded")) return badge("succeeded");
  const marks = [];
  for (const kind of ["failed", "running", "skipped"]) {
    const n = counts.get(kind);
    if (n) marks.push(el("span", { class: `badge ${kind}` }, `${n} ${kind}`));
  }
  return el("span", { class: "badges" }, marks.length ? marks : badge([...counts.keys()][0]));
}

function metricOfGroup(column, group) {
  const { mean, std, n } = group.over(column);
  if (!n) return words("\u2013");
  const few = n < group.runs.length;
  return el(
    "span",
    { title: `mean ${mean}, standard deviation ${std ?? "not known"}, n = ${n} of ${group.runs.length} runs` },
    withSpread(mean, std),
    el("span", { class: few ? "n few" : "n" }, ` n=${n}`),
  );
}

function sameInAll(column, group, absent) {
  const texts = new Set(group.runs.filter((at) => !isAbsent(column.values[at])).map((at) => textIn(column, at)));
  texts.delete("");
  if (!texts.size) return words(absent);
  const [first] = texts;
  if (texts.size === 1) return words(first.slice(0, SHOWN));
  return el("span", { class: "muted" }, `${texts.size} values`);
}

/** Return the width of a column that its texts need, in pixels. */
export function widthOf(column, model, isGrouped) {
  if (column.id === "run") return Math.max(hasSecondLine(model) ? 176 : 0, (isGrouped ? 132 : 104) + (isGrouped && model.mixedCode ? 34 : 0));
  if (column.id === "status") return isGrouped ? 118 : 92;
  if (column.id === "started") return 142;
  if (column.id === "error") return 320;
  const step = Math.max(1, Math.floor(model.length / 200));
  let longest = Math.min(column.title.length, 20) + (column.mode ? 4 : 2.4);
  for (let at = 0; at < model.length; at += step) {
    longest = Math.max(longest, Math.min(textIn(column, at).length, 34));
  }
  const extra = isGrouped && column.part === "metrics" && column.type === "number" ? 23 : 0;
  return Math.round(Math.max(longest, extra) * 7.6 + 26);
}
