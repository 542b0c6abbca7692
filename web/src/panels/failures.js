// What failed, alike failures together, and the command that tries again.

import { button, el, put } from "../dom.js";
import { command } from "../data/command.js";
import { count } from "../data/format.js";
import { commandLine, panel } from "./panel.js";

const SHOWN = 8; // runs with a link of their own

export class Failures {
  constructor(context) {
    Object.assign(this, context);
    this.panel = panel("failures", "Failures");
    this.node = this.panel.node;
    this.part = "failures"; // of the payload
    this.place = el("div", { class: "failures" });
    this.command = commandLine("the failed runs");
    put(this.panel.body, this.place, this.command.node);
  }

  start() {
    this.refresh();
  }

  refresh() {
    const { failures, root } = this.model.payload;
    this.node.hidden = !failures.length;
    put(this.place, failures.map((failure) => this.failure(failure)));
    this.command.show(command("list", root, ["--status", "failed"]));
  }

  failure(failure) {
    const { runs, root } = this.model.payload;
    const links = failure.runs.slice(0, SHOWN).map((at) =>
      button(runs.id[at], () => this.store.set({ run: runs.name[at] }), { class: "run-link", "aria-label": `open run ${runs.id[at]}`, title: this.model.label(at) }));
    const more = failure.runs.length - links.length;
    const retry = commandLine(`try again what failed for ${failure.type}`);
    retry.show(command("retry", root, failure.type));
    return el("article", { class: "failure" },
      el("h3", {}, el("span", { class: "times" }, `${count(failure.runs.length)} \u00d7`), " ", el("span", {}, failure.type)),
      el("p", { class: "message" }, failure.message),
      el("dl", { class: "pairs" }, [["where", failure.place], ["why", failure.reason], ["only when", failure.only_when]].filter(([, text]) => text).map(([key, text]) => [el("dt", {}, key), el("dd", {}, text)])),
      el("p", { class: "links" }, links, more > 0 ? el("span", { class: "muted" }, `and ${count(more)} more`) : null),
      failure.log ? el("details", {}, el("summary", {}, "Last lines of the log"), el("pre", { class: "log", tabindex: "0", "aria-label": "last lines of the log" }, failure.log)) : null,
      retry.node);
  }
}
