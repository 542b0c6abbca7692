// Where the numbers come from, and the launches that made them.

import { button, el, put, toast } from "../dom.js";
import { command } from "../data/command.js";
import { clock, count, date } from "../data/format.js";
import { post } from "../data/load.js";
import { commandLine, panel } from "./panel.js";

export class Provenance {
  constructor(context) {
    Object.assign(this, context);
    this.panel = panel("provenance", "Provenance");
    this.node = this.panel.node;
    this.part = "provenance"; // of the payload
    this.command = commandLine("the state of the folder");
  }

  start() {
    this.refresh();
  }

  refresh() {
    const { provenance, root } = this.model.payload;
    this.node.hidden = !provenance.length;
    this.command.show(command("check", root));
    put(this.panel.body, el("dl", { class: "pairs wide" }, provenance.map(([label, text]) => [el("dt", {}, label), el("dd", {}, text)])), this.command.node);
  }
}

export class Launches {
  constructor(context) {
    Object.assign(this, context);
    this.panel = panel("launches", "Launches");
    this.node = this.panel.node;
    this.part = "launches"; // of the payload
    this.place = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "launches, as a table" });
    this.command = commandLine("the launches");
    put(this.panel.body, this.place, this.command.node);
  }

  start() {
    this.refresh();
  }

  refresh() {
    const { launches, root, live } = this.model.payload;
    this.node.hidden = !launches.length;
    this.command.show(command("status", root));
    const heads = ["launch", "started", "took", "function", "runs", "command"];
    put(this.place, el("table", { class: "plain" },
      el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)), live ? el("th", { scope: "col" }, el("span", { class: "sr" }, "actions")) : null)),
      el("tbody", {}, launches.map((launch) => this.row(launch, live)))));
  }

  row(launch, live) {
    const took = Number.isFinite(launch.ended) && Number.isFinite(launch.started) ? launch.ended - launch.started : null;
    const text = Array.isArray(launch.command) ? launch.command.join(" ") : launch.command;
    return el("tr", {},
      el("td", { class: "mono" }, String(launch.id ?? "")),
      el("td", {}, date(launch.started)),
      el("td", { class: "number" }, launch.alive ? el("span", { class: "badge running" }, "running") : clock(took)),
      el("td", {}, launch.function ?? "\u2013"),
      el("td", { class: "number" }, Number.isFinite(launch.total) ? count(launch.total) : "\u2013"),
      el("td", { class: "mono cut", title: text ?? "" }, text ?? "\u2013"),
      live ? el("td", {}, launch.alive ? button("Stop", () => this.stop(launch), { class: "danger", "aria-label": `stop launch ${launch.id}` }) : null) : null);
  }

  async stop(launch) {
    if (!confirm(`Stop the launch ${launch.id}? Its running runs end; what is done stays.`)) return;
    try {
      toast((await post("/api/stop", { launch: launch.id })).said ?? "the launch is asked to stop");
    } catch (error) {
      toast(error.message, true);
    }
  }
}
