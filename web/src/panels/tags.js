// The editor of a run's tags on the live page.

import { button, el, icon, put, toast } from "../dom.js";
import { post } from "../data/load.js";

/** Return the tags of a run with buttons that remove them and a box for another one. */
export function tagEditor(name, tags) {
  const node = el("div", { class: "tag-editor" });
  let current = [...tags];
  async function change(of, next) {
    try {
      await post("/api/tag", { run: name, tags: of });
      current = next;
      draw();
    } catch (error) {
      toast(error.message, true);
    }
  }
  function draw() {
    const list = current.map((tag) => {
      const [key] = tag.split("=");
      const off = button(icon("close"), () => change({ [key]: null }, current.filter((one) => one !== tag)), { "aria-label": `remove tag ${tag}` });
      return el("span", { class: "tag" }, tag, off);
    });
    const input = el("input", { placeholder: "key=value", "aria-label": "another tag, key=value" });
    const form = el("form", { on: { submit: (event) => {
      event.preventDefault();
      const [key, ...rest] = input.value.trim().split("=");
      if (!key) return;
      const value = rest.join("=");
      const others = current.filter((tag) => tag !== key && !tag.startsWith(`${key}=`));
      change({ [key]: value }, [...others, value ? `${key}=${value}` : key]);
    } } }, input, el("button", { type: "submit", class: "quiet" }, "Add"));
    put(node, el("span", { class: "tags" }, list), form);
  }
  draw();
  return node;
}
