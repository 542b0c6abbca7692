// Which runs are seen, in which order and in which groups.

import { ConditionError, condition, looksLikeCondition } from "./expression.js";
import { nameInCondition, valueInCondition } from "./command.js";
import { date } from "./format.js";
import { compare, isAbsent, meanAndStd } from "./statistics.js";
import { textOf } from "./model.js";

const IN_CONDITIONS = new Set(["run", "seconds", "attempt"]); // of the fixed columns
const VALUES_IN_COMMAND = 20;
const NUMBER = String.raw`[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?`;
const RANGE = new RegExp(`^(${NUMBER})\\s*\\.\\.\\s*(${NUMBER})$`);
const COMPARED = new RegExp(`^(<=|>=|!=|==?|<|>)\\s*(${NUMBER})$`);

/** Return what the box of a column asks for: a test, and the same as a condition (or null). */
export function boxed(column, text) {
  const wanted = text.trim();
  const name = nameInCondition(column.name);
  const isNumber = column.type === "number" && column.id !== "started";
  const range = isNumber && RANGE.exec(wanted);
  if (range) {
    const [low, high] = [Number(range[1]), Number(range[2])];
    const passes = (value) => typeof value === "number" && value >= low && value <= high;
    return { passes, where: `${low} <= ${name} <= ${high}` };
  }
  const compared = isNumber && COMPARED.exec(wanted);
  if (compared) {
    const sign = compared[1] === "=" ? "==" : compared[1];
    const of = condition(`x ${sign} ${compared[2]}`);
    return {
      passes: (value) => of.passes(() => value),
      where: `${name} ${sign} ${compared[2]}`,
    };
  }
  const lower = wanted.toLowerCase();
  if (column.id === "started") return { passes: (value) => date(value).includes(wanted), where: null };
  const passes = (value) => !isAbsent(value) && textOf(value).toLowerCase().includes(lower);
  return { passes, where: inList(name, column.values.filter(passes)) };
}

function inList(name, values) {
  const distinct = [...new Set(values)];
  if (distinct.length > VALUES_IN_COMMAND || distinct.some((value) => typeof value === "object")) return null;
  if (distinct.length === 1) return `${name} == ${valueInCondition(distinct[0])}`;
  return distinct.length ? `${name} in (${distinct.map(valueInCondition).join(", ")})` : null;
}

/** Return what a brush asks for: ranges of numbers, or a list of values. */
function brushed(column, ranges) {
  const name = nameInCondition(column.name);
  if (ranges.every((range) => Array.isArray(range))) {
    return {
      passes: (value) => ranges.some(([low, high]) => typeof value === "number" && value >= low && value <= high),
      where: ranges.map(([low, high]) => `${low} <= ${name} <= ${high}`).join(" or "),
    };
  }
  return { passes: (value) => ranges.includes(textOf(value)), where: inList(name, column.values.filter((value) => ranges.includes(textOf(value)))) };
}

/** The runs that pass, the order and the groups that the state asks for. */
export class View {
  constructor(model, store) {
    this.model = model;
    this.store = store;
    this.problem = null;
    this.refresh();
  }

  /** Find the runs that pass. */
  refresh() {
    const { model } = this;
    const { state } = this.store;
    const tests = [];
    this.where = [];
    this.status = null;
    this.beyond = []; // what no command can say
    this.problem = null;
    this.asked(tests, state.q);
    for (const [id, text] of Object.entries(state.filters)) {
      const column = model.find(id);
      if (column && typeof text === "string" && text.trim()) this.add(tests, column, boxed(column, text), text);
    }
    this.unbrushed = passing(model, tests); // what parallel coordinates draw
    const ranged = [];
    for (const [id, ranges] of Object.entries(state.brush)) {
      const column = model.find(id);
      if (column && Array.isArray(ranges) && ranges.length) this.add(ranged, column, brushed(column, ranges), "a range");
    }
    this.visible = this.unbrushed.filter((at) => ranged.every((test) => test(at)));
    this.groups_ = null;
  }

  asked(tests, text) {
    const { model } = this;
    const wanted = text.trim();
    if (!wanted) return;
    if (looksLikeCondition(wanted)) {
      try {
        const asked = condition(wanted);
        const columns = new Map(asked.names.map((name) => [name, model.find(name)]));
        for (const [name, column] of columns) {
          if (!column) throw new ConditionError(`no run has ${name}`);
        }
        tests.push((at) => asked.passes((name) => columns.get(name).values[at]));
        this.where.push(asked.text);
      } catch (error) {
        if (!(error instanceof ConditionError)) throw error;
        this.problem = error.message;
      }
      return;
    }
    const words = wanted.toLowerCase().split(/\s+/);
    tests.push((at) => words.every((word) => model.text(at).includes(word)));
    this.beyond.push(`the words "${wanted}"`);
  }

  add(tests, column, asked, text) {
    tests.push((at) => asked.passes(column.values[at]));
    if (column.id === "status") this.status = [...new Set(column.values.filter(asked.passes))].join(",") || null;
    else if (asked.where && (column.part !== "fixed" || IN_CONDITIONS.has(column.id))) this.where.push(asked.where);
    else this.beyond.push(`${column.name} ${text}`);
  }

  /** Return the options that make a command read the runs that are seen. */
  filterOptions() {
    const parts = this.where.map((text) => (this.where.length > 1 ? `(${text})` : text));
    return [
      ["--where", parts.join(" and ") || null],
      ["--status", this.status],
    ];
  }

  /** Return the visible runs in order. */
  ordered() {
    const sort = this.store.state.sort;
    const column = sort && this.model.find(sort.id);
    if (!column) return [...this.visible].reverse();
    return sorted(this.visible, (at) => column.values[at], sort.down);
  }

  /** Return whether another group looks the same but for the version of the code. */
  differsInCode(group) {
    if (!this.model.mixedCode) return false;
    if (this.alike_?.of !== this.groups()) {
      const times = new Map();
      for (const one of this.groups()) {
        const seen = this.seen(one);
        times.set(seen, (times.get(seen) ?? 0) + 1);
      }
      this.alike_ = { of: this.groups(), times };
    }
    return this.alike_.times.get(this.seen(group)) > 1;
  }

  seen(group) {
    const [first] = group.runs;
    return `${this.model.payload.runs.function[first]} ${this.model.label(first, this.model.keys)}`;
  }

  /** Return groups of the visible runs that differ in the seed alone, in order. */
  groups() {
    if (this.groups_) return this.groups_;
    const { model } = this;
    const by = [...model.config.filter((column) => column.varies && !column.seed)];
    const more = [model.mixedFunction && model.byId.get("function"), model.mixedCode && model.byId.get("code")];
    const groups = grouped(model, this.visible, [...by, ...more.filter(Boolean)]);
    const sort = this.store.state.sort;
    const column = sort && model.find(sort.id);
    this.groups_ = column ? sorted(groups, (group) => group.value(column), sort.down) : groups.reverse();
    return this.groups_;
  }
}

function passing(model, tests) {
  const passed = [];
  for (let at = 0; at < model.length; at += 1) {
    if (tests.every((test) => test(at))) passed.push(at);
  }
  return passed;
}

function sorted(items, valueOf, down) {
  const there = [];
  const without = [];
  for (const item of items) {
    const value = valueOf(item);
    if (isAbsent(value)) without.push(item);
    else there.push([value, item]);
  }
  const sign = down ? -1 : 1;
  there.sort((one, other) => sign * compare(one[0], other[0]));
  return [...there.map((pair) => pair[1]), ...without];
}

/** Runs that are alike but for the seed. */
export class Group {
  constructor(model, key, runs, by) {
    this.model = model;
    this.key = key;
    this.runs = runs;
    this.by = by;
    this.stats = new Map();
  }

  /** The runs that count: those that succeeded, of a seed that ran twice the latest. */
  get counted() {
    if (!this.counted_) this.counted_ = latestOfSeeds(this.model, this.runs);
    return this.counted_;
  }

  /** Return mean, standard deviation and n of a column over the runs that count. */
  over(column) {
    let of = this.stats.get(column.id);
    if (!of) {
      of = meanAndStd(this.counted.map((at) => column.values[at]));
      this.stats.set(column.id, of);
    }
    return of;
  }

  /** Return the value that the group is sorted by. */
  value(column) {
    if (column.part === "metrics" || column.id === "seconds") return this.over(column).mean;
    if (column.id === "started") return Math.max(...this.runs.map((at) => column.values[at] ?? 0));
    if (column.id === "status") return this.counted.length / this.runs.length;
    return column.values[this.runs[0]];
  }

  /** Return the seeds of the runs that count, as texts. */
  get seeds() {
    return this.counted.map((at) => seedOf(this.model, at));
  }
}

/** Return what tells a run's seed. */
export function seedOf(model, at) {
  return model.seeds.map((column) => textOf(column.values[at])).join("/");
}

function latestOfSeeds(model, runs) {
  const { status, started } = model.payload.runs;
  const latest = new Map();
  for (const at of runs) {
    if (status[at] !== "succeeded") continue;
    const seed = model.seeds.length ? seedOf(model, at) : at;
    const known = latest.get(seed);
    if (known === undefined || (started[at] ?? 0) >= (started[known] ?? 0)) latest.set(seed, at);
  }
  return [...latest.values()];
}

/** Return groups of some runs that agree in some columns, in the order of their first runs. */
export function grouped(model, runs, by) {
  const places = new Map();
  for (const at of runs) {
    const key = by.map((column) => `${column.key}=${textOf(column.values[at])}`).join(" ") || "all";
    const known = places.get(key);
    if (known) known.push(at);
    else places.set(key, [at]);
  }
  return [...places].map(([key, members]) => new Group(model, key, members, by));
}
