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

/** Return a command; `parts` are words, and pairs of an option and its value (null: left out). */
export function command(verb, root, ...parts) {
  const words = ["ztxexp", verb];
  for (const part of parts) {
    if (part === null || part === undefined) continue;
    if (!Array.isArray(part)) words.push(quoted(part));
    else if (part[1] !== null && part[1] !== undefined && part[1] !== "") {
      words.push(part[0], quoted(part[1]));
    }
  }
  if (root) words.push("-C", quoted(root));
  // A word that begins with a dash would be taken for an option.
  return words.join(" ");
}
