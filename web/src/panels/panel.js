// What all panels share: a section with a title, tools, and the command that shows the same.

import { button, el, icon, put, toast } from "../dom.js";

/** Copy a text, also where the page was opened from a disk by an old browser. */
export async function copy(text, what = "copied") {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el("textarea", { class: "sr", "aria-hidden": "true" }, text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(what);
}

/** Return the line with a command and the button that copies it. */
export function commandLine(label) {
  let text = "";
  const code = el("code", { tabindex: "0", "aria-label": `command: ${label}` });
  const line = el(
    "div",
    { class: "command" },
    el("span", { class: "prompt", "aria-hidden": "true" }, "$"),
    code,
    button([icon("copy"), el("span", {}, "Copy as command")].reduce(into, new DocumentFragment()), () => copy(text, "command copied"), {
      class: "quiet",
      "aria-label": `Copy as command: ${label}`,
    }),
  );
  return {
    node: line,
    /** Show another command; `beyond`: what it cannot say. */
    show(command, beyond = []) {
      text = command;
      code.textContent = command;
      code.title = command;
      line.querySelector(".beyond")?.remove();
      if (beyond.length) {
        line.append(el("small", { class: "beyond" }, `without ${beyond.join(", ")}: no option says that`));
      }
    },
  };
}

function into(fragment, child) {
  fragment.append(child);
  return fragment;
}

/** Return a section of the page. */
export function panel(id, title) {
  const tools = el("div", { class: "tools" });
  const note = el("p", { class: "note", hidden: true });
  const body = el("div", { class: "body" });
  const heading = el("h2", { id: `${id}-title` }, title);
  const node = el(
    "section",
    { id, class: "panel", "aria-labelledby": `${id}-title` },
    el("div", { class: "panel-head" }, heading, tools),
    note,
    body,
  );
  return {
    node,
    body,
    tools,
    heading,
    /** Say something below the title; nothing hides the line. */
    say(...texts) {
      const lines = texts.filter(Boolean);
      note.hidden = !lines.length;
      put(note, lines.join(" "));
    },
  };
}

/** Return a labelled select; `choices` are texts or pairs of value and text. */
export function select(label, choices, value, onChange) {
  const box = el("select", { on: { change: () => onChange(box.value) } });
  const fill = (list, chosen) => {
    put(
      box,
      list.map((choice) => {
        const [key, text] = Array.isArray(choice) ? choice : [choice, choice];
        return el("option", { value: key }, text);
      }),
    );
    box.value = chosen ?? "";
  };
  fill(choices, value);
  return { node: el("label", { class: "field" }, el("span", {}, label), box), box, fill };
}

/** Return a switch that looks like a button. */
export function toggle(label, isOn, onChange, drawing = null) {
  const node = button(label, () => onChange(node.getAttribute("aria-pressed") !== "true"), {
    class: "toggle",
    "aria-pressed": String(isOn),
  });
  if (drawing) node.prepend(icon(drawing));
  return { node, set: (on) => node.setAttribute("aria-pressed", String(on)) };
}

/** Return a button that opens a box with choices below it; Escape and a click elsewhere close it. */
export function popover(label, drawing, fillBox) {
  const box = el("div", { class: "popover", role: "group", "aria-label": label, hidden: true });
  const opener = button(label, () => (box.hidden ? open() : close()), {
    class: "toggle",
    "aria-expanded": "false",
  });
  if (drawing) opener.prepend(icon(drawing));
  const node = el("div", { class: "popover-place" }, opener, box);
  const elsewhere = (event) => !node.contains(event.target) && close();
  function open() {
    put(box, fillBox());
    box.hidden = false;
    opener.setAttribute("aria-expanded", "true");
    document.addEventListener("pointerdown", elsewhere);
    const over = box.getBoundingClientRect();
    box.classList.toggle("to-right", over.right > document.documentElement.clientWidth - 8);
    box.querySelector("input, button")?.focus();
  }
  function close(focus = false) {
    box.hidden = true;
    opener.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", elsewhere);
    if (focus) opener.focus();
  }
  node.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !box.hidden) {
      event.stopPropagation();
      close(true);
    }
  });
  node.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !node.contains(event.relatedTarget)) close();
  });
  return {
    node,
    opener,
    refresh: () => !box.hidden && put(box, fillBox()),
    close,
  };
}

/** Return the badge of a status. */
export function badge(status) {
  const words = { succeeded: "ok", failed: "failed", running: "running", skipped: "skipped" };
  return el("span", { class: `badge ${words[status] ? status : "other"}` }, words[status] ?? status);
}
