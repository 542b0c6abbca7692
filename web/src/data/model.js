// The runs of a payload, by column and by row, and what a delta changes in them.

const FIXED_NAMES = new Set(["run", "status", "duration_sec", "started_at", "error", "run_id", "run_dir"]);

const PARTS = ["failures", "best", "effects", "launches", "notes", "provenance", "default_metric", "made"];

/** A column as the page knows it: `id` for addresses, `name` as the command line says it. */
function described(column, metricNames) {
  const { key, part } = column;
  let name = key;
  if (part === "metrics" && FIXED_NAMES.has(key)) name = `metrics.${key}`;
  if (part === "config" && (FIXED_NAMES.has(key) || metricNames.has(key))) name = `config.${key}`;
  if (part === "run") name = `run.${key}`;
  return { ...column, id: `${part}:${key}`, name, title: name };
}

function fixed(id, name, title, values, type = "text") {
  return { id, key: id, name, title, part: "fixed", type, varies: true, seed: false, mode: null, values };
}

export class Model {
  constructor(payload) {
    this.set(payload);
  }

  /** Take another payload as a whole. */
  set(payload) {
    this.payload = payload;
    this.texts = [];
    this.at = new Map();
    const runs = payload.runs;
    runs.name.forEach((name, at) => this.at.set(name, at));
    const metricNames = new Set();
    for (const column of runs.columns) if (column.part === "metrics") metricNames.add(column.key);
    this.columns = runs.columns.map((column) => described(column, metricNames));
    this.fixed = [
      fixed("run", "run", "run", runs.id),
      fixed("status", "status", "status", runs.status),
      fixed("code", "code", "code", runs.code),
      fixed("function", "function", "function", runs.function),
      fixed("group", "group", "group", runs.group),
      fixed("tags", "tags", "tags", runs.tags),
      fixed("seconds", "duration_sec", "time", runs.seconds, "number"),
      fixed("started", "started_at", "when", runs.started, "number"),
      fixed("attempt", "attempt", "attempt", runs.attempt, "number"),
      fixed("error", "error", "error", runs.error),
    ];
    this.byId = new Map([...this.columns, ...this.fixed].map((column) => [column.id, column]));
    this.index();
  }

  /** Find again what follows from the runs: series by run, which columns say something. */
  index() {
    const { runs, curves } = this.payload;
    this.seriesOf = new Map();
    curves.series.forEach((series) => {
      const of = this.seriesOf.get(series.metric) ?? new Map();
      of.set(series.run, series);
      this.seriesOf.set(series.metric, of);
    });
    const differ = (values) => new Set(values).size > 1;
    this.mixedCode = differ(runs.code);
    this.mixedFunction = differ(runs.function);
    this.hasTags = runs.tags.some((tags) => tags.length);
    this.hasErrors = runs.error.some((error) => error);
    this.hasGroups = differ(runs.group);
    this.config = this.columns.filter((column) => column.part === "config");
    this.metrics = this.columns.filter((column) => column.part === "metrics");
    this.varying = this.config.filter((column) => column.varies);
    this.seeds = this.config.filter((column) => column.seed);
    this.keys = this.varying.filter((column) => !column.seed);
    this.texts = [];
    this.best_ = null;
  }

  get length() {
    return this.payload.runs.name.length;
  }

  /** Return the column that a condition or a link means; `undefined`: no run has it. */
  find(name) {
    const known = this.byId.get(name);
    if (known) return known;
    return (
      this.metrics.find((column) => column.key === name) ??
      this.config.find((column) => column.key === name) ??
      [...this.columns, ...this.fixed].find((column) => column.name === name) ??
      this.columns.find((column) => `${column.part}.${column.key}` === name)
    );
  }

  /** Return the lower-case text of a run that words are looked for in. */
  text(at) {
    if (this.texts[at] === undefined) {
      const { runs } = this.payload;
      const words = [runs.id[at], runs.name[at], runs.status[at], runs.function[at], runs.group[at]];
      for (const column of this.columns) {
        const value = column.values[at];
        if (value === null || value === undefined) continue;
        const text = typeof value === "object" ? JSON.stringify(value) : String(value);
        words.push(`${column.key}=${text}`);
      }
      words.push(...runs.tags[at], runs.error[at]);
      this.texts[at] = words.filter(Boolean).join("\n").toLowerCase();
    }
    return this.texts[at];
  }

  /** Return what a run is called: its short id and the keys that vary. */
  label(at, keys = this.varying) {
    return keys
      .filter((column) => column.values[at] !== null && column.values[at] !== undefined)
      .map((column) => `${column.key}=${textOf(column.values[at])}`)
      .join(" ");
  }

  /** Merge what has changed; return the parts that have, `null` where it cannot be merged. */
  merge(delta) {
    const changed = new Set();
    const places = delta.runs ? this.mergeRuns(delta.runs) : [];
    if (places === null) return null;
    if (places.length) changed.add("runs");
    if (delta.curves) {
      this.mergeCurves(delta.curves, places);
      changed.add("curves");
    }
    for (const part of PARTS) {
      if (delta[part] === undefined || JSON.stringify(delta[part]) === JSON.stringify(this.payload[part])) continue;
      this.payload[part] = delta[part];
      changed.add(part);
    }
    if (delta.state !== undefined) this.payload.state = delta.state;
    for (const column of this.columns) if (!column.varies) column.varies = differs(column.values);
    this.index();
    return changed;
  }

  mergeRuns(changed) {
    const { runs } = this.payload;
    const pairs = [];
    for (const column of changed.columns) {
      const own = this.columns.find((one) => one.key === column.key && one.part === column.part);
      if (!own) return null;
      pairs.push([own, column]);
    }
    const lists = ["id", "name", "status", "started", "seconds", "attempt", "code", "function", "group", "tags", "error"];
    return changed.name.map((name, from) => {
      let to = this.at.get(name);
      if (to === undefined) {
        to = this.length;
        this.at.set(name, to);
        for (const column of this.columns) column.values[to] = null;
      }
      for (const list of lists) runs[list][to] = changed[list][from];
      for (const [own, column] of pairs) own.values[to] = column.values[from];
      return to;
    });
  }

  mergeCurves(changed, places) {
    const { curves } = this.payload;
    const at = new Map(curves.series.map((series, place) => [`${series.run} ${series.metric}`, place]));
    const list = Array.isArray(changed) ? changed : changed.series;
    for (const series of list) {
      const moved = { ...series, run: places[series.run] };
      const known = at.get(`${moved.run} ${moved.metric}`);
      if (known === undefined) curves.series.push(moved);
      else curves.series[known] = moved;
    }
    if (!Array.isArray(changed)) {
      for (const part of ["most", "thinned", "left_out"]) {
        if (changed[part] !== undefined) curves[part] = changed[part];
      }
    }
  }
}

function differs(values) {
  const first = JSON.stringify(values[0]);
  return values.some((value) => JSON.stringify(value) !== first);
}

const LIKE_NO_TEXT = /^(\s*|[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|true|false|null|none)$/i;

/** Return a value as part of a label; a text that could be a number or a switch is in quotes. */
export function textOf(value) {
  if (typeof value === "string") return LIKE_NO_TEXT.test(value) ? JSON.stringify(value) : value;
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}
