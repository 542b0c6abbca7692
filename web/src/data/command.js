// The commands that show the same in a shell.

/** Return a word as a POSIX shell reads it. */
export function quoted(word) {
  const text = String(word).replace(/[\u0000-\u001f\u007f]/g, " ");
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(text)) return text;
  return `'${text.replaceAll("'", `'"'"'`)}'`;
}

/** Return a name as a condition takes it: in backquotes where it is more than letters. */
export function nameInCondition(name) {
  return /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/.test(name) ? name : `\`${name}\``;
}

/** Return a value as a condition takes it. */
export function valueInCondition(value) {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "boolean") return value ? "True" : "False";
  return value === null ? "None" : String(value);
}

class Flag {
  constructor(name) {
    this.name = name;
  }
}

/** Return an option without a value, where it is on. */
export const flag = (name, isOn = true) => (isOn ? new Flag(name) : null);

/** Return a command; `parts` are words, and pairs of an option and its value (null: left out). */
export function command(verb, root, ...parts) {
  const words = ["ztxexp", verb];
  const last = []; // a word that begins with a dash would be taken for an option
  const give = (option, value) => {
    if (String(value).startsWith("-") && option.startsWith("--")) words.push(quoted(`${option}=${value}`));
    else words.push(option, quoted(value));
  };
  for (const part of parts) {
    if (part === null || part === undefined || part === false) continue;
    if (part instanceof Flag) words.push(part.name);
    else if (!Array.isArray(part)) (String(part).startsWith("-") ? last : words).push(quoted(part));
    else if (part[1] !== null && part[1] !== undefined) give(part[0], part[1]);
  }
  if (root) give("-C", root);
  return (last.length ? [...words, "--", ...last] : words).join(" ");
}
