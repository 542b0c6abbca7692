// The metric that effects, parallel coordinates and the best configurations speak of.

/** Return the metrics that can be chosen: numbers that differ, those with a direction first. */
export function targets(model) {
  const numbers = model.metrics.filter((column) => column.type === "number");
  return [...numbers.filter((column) => column.mode), ...numbers.filter((column) => !column.mode)];
}

/** Return the metric that is chosen; `null`: there is none. */
export function targetOf(model, store) {
  const all = targets(model);
  const find = (key) => all.find((column) => column.key === key);
  return find(store.state.target) ?? find(model.payload.default_metric) ?? all[0] ?? null;
}

/** Fill a choice with the metrics that some records speak of, and return the one that is chosen. */
export function chosenAmong(records, choice, model, store) {
  const names = [...new Set(records.map((one) => one.metric))];
  const target = targetOf(model, store)?.key;
  const metric = names.includes(target) ? target : names[0];
  const known = targets(model).map((column) => column.key).filter((name) => names.includes(name));
  if (names.length) choice.fill(known.length ? known : names, metric);
  return metric ?? null;
}
