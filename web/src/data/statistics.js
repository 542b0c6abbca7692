// Means and spreads. A spread is the standard deviation of a sample; of one value it is not known.

/** Return the mean and the standard deviation of the numbers among some values. */
export function meanAndStd(values) {
  const numbers = values.filter((value) => Number.isFinite(value));
  const n = numbers.length;
  if (!n) return { mean: null, std: null, n };
  const mean = numbers.reduce((sum, value) => sum + value, 0) / n;
  if (n < 2) return { mean, std: null, n };
  const squares = numbers.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, std: Math.sqrt(squares / (n - 1)), n };
}

/** Return an exponential mean; `weight` is that of the past. The start is not biased to zero. */
export function smoothed(values, weight) {
  if (!(weight > 0)) return values;
  let sum = 0;
  let total = 0;
  return values.map((value) => {
    if (!Number.isFinite(value)) return value;
    sum = sum * weight + (1 - weight) * value;
    total = total * weight + (1 - weight);
    return sum / total;
  });
}

const rank = (value) => (typeof value === "number" ? 0 : typeof value === "boolean" ? 1 : 2);

/** Compare two values: numbers, then booleans, then texts by their numbers and letters. */
export function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  const kinds = rank(one) - rank(other);
  if (kinds) return kinds;
  const left = typeof one === "object" ? JSON.stringify(one) : String(one);
  const right = typeof other === "object" ? JSON.stringify(other) : String(other);
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Return whether a cell has no value. */
export function isAbsent(value) {
  return value === null || value === undefined || Number.isNaN(value);
}
