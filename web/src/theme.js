// Colours: Okabe and Ito's, which colour-blind people tell apart, and dashes beside them.

const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444b54", "#8c7a00"];
const DARK = ["#56b4e9", "#ee7a3a", "#2fc497", "#e79ac4", "#f0e442", "#5b8def", "#c9d1d9", "#e69f00"];
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];

const system = matchMedia("(prefers-color-scheme: dark)");

/** Set the theme of the page: "light", "dark", or "auto". */
export function setTheme(theme) {
  const dark = theme === "dark" || (theme !== "light" && system.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

/** Return whether the page is dark now. */
export function isDark() {
  return document.documentElement.dataset.theme === "dark";
}

/** Call a function when the system changes between light and dark. */
export function onSystemTheme(call) {
  system.addEventListener("change", call);
}

/** Return the colour of the n-th curve. */
export function colour(at) {
  const list = isDark() ? DARK : LIGHT;
  return list[at % list.length];
}

/** Return the dashes of the n-th curve: others once the colours begin again. */
export function dashes(at) {
  return DASHES[Math.floor(at / LIGHT.length) % DASHES.length];
}

/** Return a colour of the style sheet. */
export function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Return a colour with an opacity. */
export function faint(hex, opacity) {
  const number = parseInt(hex.slice(1), 16);
  return `rgba(${number >> 16}, ${(number >> 8) & 255}, ${number & 255}, ${opacity})`;
}

/** Return a colour between blue-violet and yellow for a share from 0 to 1 (a part of viridis). */
export function shade(share) {
  const stops = isDark()
    ? [[92, 96, 178], [62, 134, 166], [53, 171, 143], [133, 206, 92], [253, 231, 37]]
    : [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 190, 90], [222, 195, 20]];
  const place = Math.min(1, Math.max(0, share)) * (stops.length - 1);
  const from = Math.min(stops.length - 2, Math.floor(place));
  const rest = place - from;
  const mixed = stops[from].map((value, at) => Math.round(value + (stops[from + 1][at] - value) * rest));
  return `rgb(${mixed.join(",")})`;
}
