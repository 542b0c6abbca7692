// Elements without innerHTML: what runs say is only ever text.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name === "style") {
      for (const [property, text] of Object.entries(value)) node.style.setProperty(property, text);
    } else if (name === "data") {
      for (const [key, text] of Object.entries(value)) node.dataset[key] = text;
    } else if (name === "class") {
      node.setAttribute("class", value);
    } else if (["checked", "value", "disabled", "open", "selected"].includes(name)) {
      node[name] = value;
    } else {
      node.setAttribute(name, value === true ? "" : visible(String(value)));
    }
  }
  append(node, children);
  return node;
}

const DIRECTION = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Return a text without the signs that turn around the direction of what follows. */
export const visible = (text) => text.replace(DIRECTION, "\ufffd");

function append(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(node, child);
    else node.append(typeof child === "string" ? visible(child) : child);
  }
}

/** Return a text as a node. */
export const words = (text) => document.createTextNode(visible(String(text)));

/** Return an element; `props` are attributes, `on` listeners, `data` data attributes. */
export function el(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** Return an SVG element. */
export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/** Put other children into an element. */
export function put(node, ...children) {
  node.textContent = "";
  append(node, children);
  return node;
}

/** Return a button; `title` is what a screen reader says where the text is a sign. */
export function button(text, onClick, props) {
  return el("button", { type: "button", ...props, on: { click: onClick } }, text);
}

const ICONS = {
  copy: "M5.5 5.5V3.2c0-.7.5-1.2 1.2-1.2h6.1c.7 0 1.2.5 1.2 1.2v6.1c0 .7-.5 1.2-1.2 1.2h-2.3M3.2 5.5h6.1c.7 0 1.2.5 1.2 1.2v6.1c0 .7-.5 1.2-1.2 1.2H3.2c-.7 0-1.2-.5-1.2-1.2V6.7c0-.7.5-1.2 1.2-1.2Z",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10Zm3.6-1.4L14 14",
  close: "m4 4 8 8m0-8-8 8",
  pin: "M5.5 2h5l-.6 4.4 2.1 2.1V10H4V8.500l2.1-2.100L5.5 2ZM8 10v4",
  warn: "M8 2 1.5 13.500h13L8 2Zm0 4.500v3.500m0 1.700v.3",
  up: "m4 10 4-4 4 4",
  down: "m4 6 4 4 4-4",
  right: "m6 4 4 4-4 4",
  columns: "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10",
  filter: "M2 3.500h12M4.5 8h7M6.5 12.500h3",
  layers: "m8 2 6 3-6 3-6-3 6-3Zm-6 6 6 3 6-3M2 11l6 3 6-3",
  moon: "M13.5 9.800A6 6 0 1 1 6.2 2.500a4.8 4.8 0 0 0 7.3 7.300Z",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6Zm0-9.500v1M8 13.500v1M1.5 8h1M13.5 8h1M3.4 3.400l.7.7M11.9 11.900l.7.7M3.4 12.600l.7-.7M11.9 4.100l.7-.7",
  auto: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 2v12",
  check: "m3 8.5 3.2 3.200L13 4.8",
  stop: "M4 4h8v8H4z",
};

/** Return a small drawing that screen readers pass over. */
export function icon(name) {
  return svg(
    "svg",
    { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: ICONS[name] }),
  );
}

let said = null;

/** Say a line to screen readers. */
export function announce(text) {
  if (!said) {
    said = el("div", { class: "sr", role: "status", "aria-live": "polite" });
    document.body.append(said);
  }
  said.textContent = text;
}

let shown = null;
let timer = 0;

/** Show a line for some seconds at the bottom of the page, and say it. */
export function toast(text, isError = false) {
  if (!shown) {
    shown = el("div", { class: "toast", role: "status", "aria-live": "polite" });
    document.body.append(shown);
  }
  shown.classList.toggle("bad", isError);
  shown.classList.add("on");
  shown.textContent = text;
  clearTimeout(timer);
  timer = setTimeout(() => {
    shown.classList.remove("on");
    shown.textContent = "";
  }, 5000);
}

/** Return a function that runs the last of many calls, once `wait` milliseconds are quiet. */
export function debounced(wait, call) {
  let waiting = 0;
  return (...args) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => call(...args), wait);
  };
}

/** Run `draw` once the element comes near the window, or the page is printed. */
export function whenNear(node, draw) {
  let done = false;
  const once = () => {
    if (done) return;
    done = true;
    watcher.disconnect();
    draw();
  };
  const watcher = new IntersectionObserver(
    (entries) => entries.some((entry) => entry.isIntersecting) && once(),
    { rootMargin: "300px" },
  );
  watcher.observe(node);
  addEventListener("beforeprint", once);
}

/** Draw an element's content anew and give back the focus and what was open. */
export function keeping(node, draw) {
  const reachable = () => [...node.querySelectorAll("button, a, input, select, summary, [tabindex]")];
  const focused = reachable().indexOf(document.activeElement);
  const details = [...node.querySelectorAll("details")].map((one) => one.open);
  draw();
  node.querySelectorAll("details").forEach((one, at) => {
    one.open = details[at] ?? one.open;
  });
  if (focused >= 0) reachable()[focused]?.focus({ preventScroll: true });
}
