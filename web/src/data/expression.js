// Conditions such as `accuracy > 0.9 and opt in ("adam", "sgd")`: the language of `--where`.
//
// Parsed here, never evaluated by the browser. What depends on a value that a run lacks, or on two
// values that cannot be compared, is not known; a run passes where the answer is yes.

const UNKNOWN = Symbol("unknown");
const TOKEN =
  /\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|`([^`]+)`|([\p{L}_][\p{L}\p{N}_]*(?:\.[\p{L}\p{N}_]+)*)|(\*\*|\/\/|==|!=|<=|>=|[-+*/%<>=()[\],]))/uy;
const CONSTANTS = { True: true, true: true, False: false, false: false, None: null, null: null };
const COMPARISONS = ["==", "!=", "<", "<=", ">", ">=", "in", "not in"];
const LONGEST = 4000;
const DEEPEST = 60;

/** Something that is no condition; the message says why. */
export class ConditionError extends Error {}

/** Return whether a text is meant as a condition rather than as words to look for. */
export function looksLikeCondition(text) {
  return /[<>=!`]|\bin\b\s*[(["']|["']\s*in\b/.test(text);
}

function tokens(text) {
  if (text.length > LONGEST) throw new ConditionError("the condition is too long");
  const list = [];
  TOKEN.lastIndex = 0;
  let at = 0;
  while (text.slice(at).trim()) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (!match) {
      const rest = text.slice(at).trim();
      throw new ConditionError(`"${rest.slice(0, 12)}" cannot be read`);
    }
    at = TOKEN.lastIndex;
    const [, number, quoted, name, word, sign] = match;
    if (number !== undefined) list.push({ kind: "value", value: Number(number), text: number });
    else if (quoted !== undefined) list.push({ kind: "value", value: unquoted(quoted), text: quoted });
    else if (name !== undefined) list.push({ kind: "name", value: name, text: `\`${name}\`` });
    else if (word !== undefined) list.push(wordToken(word));
    else list.push({ kind: "sign", value: sign === "=" ? "==" : sign, text: sign === "=" ? "==" : sign });
  }
  return list;
}

function wordToken(word) {
  if (["and", "or", "not", "in"].includes(word)) return { kind: "sign", value: word, text: word };
  if (Object.hasOwn(CONSTANTS, word)) return { kind: "value", value: CONSTANTS[word], text: word };
  return { kind: "name", value: word, text: word };
}

function unquoted(text) {
  const escapes = { n: "\n", t: "\t", r: "\r" };
  return text.slice(1, -1).replace(/\\(.)/gs, (_, letter) => escapes[letter] ?? letter);
}

class Parser {
  constructor(text) {
    this.list = tokens(text);
    this.at = 0;
    this.depth = 0;
    this.names = new Set();
  }

  whole() {
    const node = this.either();
    if (this.at < this.list.length) {
      throw new ConditionError(`"${this.list[this.at].text}" is not expected there`);
    }
    return node;
  }

  is(value) {
    const token = this.list[this.at];
    return token?.kind === "sign" && token.value === value;
  }

  take(value) {
    if (!this.is(value)) return false;
    this.at += 1;
    return true;
  }

  either() {
    this.depth += 1;
    if (this.depth > DEEPEST) throw new ConditionError("it is nested too deeply");
    const parts = [this.all()];
    while (this.take("or")) parts.push(this.all());
    this.depth -= 1;
    return parts.length === 1 ? parts[0] : (get) => decide(parts, get, true);
  }

  all() {
    const parts = [this.negated()];
    while (this.take("and")) parts.push(this.negated());
    return parts.length === 1 ? parts[0] : (get) => decide(parts, get, false);
  }

  negated() {
    let times = 0;
    while (this.take("not")) times += 1;
    const part = this.comparison();
    if (!times) return part;
    return (get) => {
      const value = part(get);
      return value === UNKNOWN ? UNKNOWN : Boolean(value) === (times % 2 === 0);
    };
  }

  comparison() {
    const parts = [this.sum()];
    const signs = [];
    for (;;) {
      const sign = this.comparisonSign();
      if (!sign) break;
      signs.push(sign);
      parts.push(this.sum());
    }
    if (!signs.length) return parts[0];
    return (get) => chain(signs, parts, get);
  }

  comparisonSign() {
    const next = this.list[this.at + 1];
    if (this.is("not") && next?.kind === "sign" && next.value === "in") {
      this.at += 2;
      return "not in";
    }
    const sign = COMPARISONS.find((one) => this.is(one));
    if (sign) this.at += 1;
    return sign;
  }

  sum() {
    let left = this.product();
    for (;;) {
      const sign = ["+", "-"].find((one) => this.take(one));
      if (!sign) return left;
      left = calculation(sign, left, this.product());
    }
  }

  product() {
    let left = this.signed();
    for (;;) {
      const sign = ["*", "/", "//", "%"].find((one) => this.take(one));
      if (!sign) return left;
      left = calculation(sign, left, this.signed());
    }
  }

  signed() {
    if (this.take("-")) return calculation("-", () => 0, this.signed());
    if (this.take("+")) return this.signed();
    const base = this.atom();
    return this.take("**") ? calculation("**", base, this.signed()) : base;
  }

  atom() {
    const token = this.list[this.at];
    if (!token) throw new ConditionError("something is missing at the end");
    this.at += 1;
    if (token.kind === "value") return () => token.value;
    if (token.kind === "name") {
      this.names.add(token.value);
      return (get) => {
        const value = get(token.value);
        return value === null || value === undefined ? UNKNOWN : value;
      };
    }
    if (token.value === "(" || token.value === "[") return this.list_(token.value === "(" ? ")" : "]");
    throw new ConditionError(`"${token.text}" is not expected there`);
  }

  list_(end) {
    const items = [];
    let comma = end === "]";
    while (!this.is(end)) {
      items.push(this.either());
      if (!this.take(",")) break;
      comma = true;
    }
    if (!this.take(end)) throw new ConditionError(`"${end}" is missing`);
    if (!comma && items.length === 1) return items[0];
    return (get) => items.map((item) => item(get));
  }
}

function decide(parts, get, stopAt) {
  let unknown = false;
  for (const part of parts) {
    const value = part(get);
    if (value === UNKNOWN) unknown = true;
    else if (Boolean(value) === stopAt) return stopAt;
  }
  return unknown ? UNKNOWN : !stopAt;
}

function chain(signs, parts, get) {
  let left = parts[0](get);
  for (let at = 0; at < signs.length; at += 1) {
    const right = parts[at + 1](get);
    if (left === UNKNOWN || right === UNKNOWN) return UNKNOWN;
    const answer = compared(signs[at], left, right);
    if (answer !== true) return answer;
    left = right;
  }
  return true;
}

const plain = (value) => (typeof value === "boolean" ? Number(value) : value);

function compared(sign, left, right) {
  if (sign === "==") return same(left, right);
  if (sign === "!=") return !same(left, right);
  if (sign === "in" || sign === "not in") {
    let inside = UNKNOWN;
    if (Array.isArray(right)) inside = right.some((item) => same(left, item));
    else if (typeof right === "string" && typeof left === "string") inside = right.includes(left);
    return inside === UNKNOWN ? UNKNOWN : inside === (sign === "in");
  }
  const one = plain(left);
  const other = plain(right);
  if (typeof one !== typeof other || !["number", "string"].includes(typeof one)) return UNKNOWN;
  if (sign === "<") return one < other;
  if (sign === "<=") return one <= other;
  return sign === ">" ? one > other : one >= other;
}

function same(left, right) {
  if (left !== null && typeof left === "object") return JSON.stringify(left) === JSON.stringify(right);
  return plain(left) === plain(right);
}

function calculation(sign, left, right) {
  return (get) => {
    const one = plain(left(get));
    const other = plain(right(get));
    if (typeof one !== "number" || typeof other !== "number") return UNKNOWN;
    if ("//%".includes(sign) && other === 0) return UNKNOWN;
    switch (sign) {
      case "+":
        return one + other;
      case "-":
        return one - other;
      case "*":
        return one * other;
      case "/":
        return one / other;
      case "//":
        return Math.floor(one / other);
      case "%":
        return one - other * Math.floor(one / other);
      default:
        return one ** other;
    }
  };
}

/** Return a condition: `text` as the command line takes it, `names`, and `passes(get)`.
 *
 * @throws {ConditionError} it is none.
 */
export function condition(text) {
  const parser = new Parser(text);
  if (!parser.list.length) throw new ConditionError("it is empty");
  const node = parser.whole();
  const spaced = parser.list.map((token) => token.text).join(" ");
  const written = spaced.replace(/([([]) /g, "$1").replace(/ ([)\],])/g, "$1");
  return {
    text: /(^|[^=!<>])=([^=]|$)/.test(text) ? written : text.trim(),
    names: [...parser.names],
    passes: (get) => {
      const value = node(get);
      return value !== UNKNOWN && Boolean(value) && !(Array.isArray(value) && !value.length);
    },
  };
}
