// Values as people read them; the same digits as `ztxexp list` prints.

const MINUS = "\u2212";

/** Return a number with some significant digits, as Python's `%.{digits}g` does. */
export function general(value, digits = 6) {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return "0";
  const exponent = Math.floor(Math.log10(Math.abs(Number(value.toPrecision(digits)))));
  if (exponent < -4 || exponent >= digits) {
    const [digitsOf, power] = value.toExponential(digits - 1).split("e");
    const short = digitsOf.includes(".") ? digitsOf.replace(/\.?0+$/, "") : digitsOf;
    const sign = power[0] === "-" ? "-" : "+";
    return `${short}e${sign}${power.slice(1).padStart(2, "0")}`;
  }
  const fixed = value.toFixed(Math.max(0, digits - 1 - exponent));
  return fixed.includes(".") ? fixed.replace(/\.?0+$/, "") : fixed;
}

/** Return a value of a configuration or a metric as text, plainly: "-" where there is none. */
export function short(value, isMetric = false) {
  if (value === null || value === undefined) return "\u2013";
  if (typeof value === "number") {
    if (Number.isInteger(value) && Math.abs(value) < 1e15) return signed(String(value));
    return signed(general(value, isMetric ? 4 : 6));
  }
  if (typeof value === "boolean") return value ? "True" : "False";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function signed(text) {
  return text.replace(/^-/, MINUS);
}

/** Return a metric's number with as many digits after the point as its neighbours need. */
export function fixed(value, decimals) {
  return Number.isFinite(value) ? signed(value.toFixed(decimals)) : "\u2013";
}

/** Return mean and spread, digits by the spread: two significant ones of it. */
export function withSpread(mean, std) {
  if (mean === null || mean === undefined || !Number.isFinite(mean)) return "\u2013";
  if (std === null || std === undefined || !(std > 0)) {
    return std === 0 ? `${short(mean, true)} \u00b1 0` : short(mean, true);
  }
  const size = Math.floor(Math.log10(std));
  if (size > 4 || size < -6) return `${signed(general(mean, 4))} \u00b1 ${general(std, 2)}`;
  const decimals = Math.max(0, 1 - size);
  return `${fixed(mean, decimals)} \u00b1 ${std.toFixed(decimals)}`;
}

/** Return seconds as `ztxexp list` does: 0:48, 1:02:03; below ten with a decimal. */
export function clock(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0 || seconds >= 1e9) return "\u2013";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

/** Return a date and time of the reader's place, without locale surprises: 2026-11-29 16:40. */
export function date(stamp) {
  if (!Number.isFinite(stamp)) return "\u2013";
  const when = new Date(stamp * 1000);
  if (Number.isNaN(when.getTime())) return "\u2013";
  const two = (number) => String(number).padStart(2, "0");
  const day = `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())}`;
  return `${day} ${two(when.getHours())}:${two(when.getMinutes())}`;
}

/** Return texts as a list, in which whole numbers that follow each other are a range: 0\u20134, 7. */
export function inShort(texts) {
  const whole = texts.every((text) => /^\d{1,9}$/.test(text));
  if (!whole || new Set(texts).size !== texts.length) return texts.join(", ");
  const spans = [];
  for (const number of texts.map(Number).sort((one, other) => one - other)) {
    if (spans.length && number === spans.at(-1)[1] + 1) spans.at(-1)[1] = number;
    else spans.push([number, number]);
  }
  const span = ([low, high]) => (high - low > 1 ? `${low}\u2013${high}` : low === high ? `${low}` : `${low}, ${high}`);
  return spans.map(span).join(", ");
}

/** Return a number with commas. */
export function count(number) {
  return String(number).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** Return "1 run", "3 runs". */
export function plural(number, word, many = `${word}s`) {
  return `${count(number)} ${number === 1 ? word : many}`;
}

/** Return a size of a file. */
export function bytes(size) {
  if (!Number.isFinite(size)) return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let value = size;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${at ? value.toFixed(1) : value} ${units[at]}`;
}
