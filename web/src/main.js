// The page: a report that carries its data, or `ztxexp ui`.

import "uplot/dist/uPlot.min.css";
import "./styles/table.css";
import "./styles/base.css";
import "./styles/panels.css";
import "./styles/print.css";

import { el, keeping, put } from "./dom.js";
import { embedded, get } from "./data/load.js";
import { Model } from "./data/model.js";
import { View } from "./data/view.js";
import { follow } from "./live.js";
import { Best } from "./panels/best.js";
import { Curves } from "./panels/curves.js";
import { Drawer } from "./panels/drawer.js";
import { Effects } from "./panels/effects.js";
import { Failures } from "./panels/failures.js";
import { Head } from "./panels/head.js";
import { Parallel } from "./panels/parallel.js";
import { Launches, Provenance } from "./panels/provenance.js";
import { RunTable } from "./panels/table.js";
import { Store } from "./state.js";
import { onSystemTheme, setTheme } from "./theme.js";

const PAUSE = 1500; // milliseconds between two drawings of what changes

class App {
  constructor(payload, store) {
    this.store = store;
    this.model = new Model(payload);
    this.view = new View(this.model, store);
    // The first to hear of a filter is the view; panels read from it.
    store.listen(["q", "filters", "brush"], () => this.view.refresh());
    store.listen(["theme"], () => this.retheme());
    const context = { model: this.model, view: this.view, store };
    this.table = new RunTable(context);
    this.panels = [
      this.table,
      new Curves(context),
      new Effects(context),
      new Parallel(context),
      new Best(context),
      new Failures(context),
      new Provenance(context),
      new Launches(context),
    ];
    this.drawer = new Drawer({ ...context, table: this.table });
    this.head = new Head(context);
  }

  show(place) {
    const skip = el("a", { class: "skip", href: "#runs", on: { click: (event) => {
      event.preventDefault();
      this.table.search.focus();
    } } }, "Skip to the runs");
    const main = el("main", {}, this.panels.map((one) => one.node));
    put(place, skip, this.head.bar, el("div", { class: "page" }, this.head.node, main, this.foot()), this.drawer.node);
    for (const one of this.panels) one.start();
    this.head.refresh();
    if (this.store.state.run) this.drawer.show();
    onSystemTheme(() => this.retheme());
    requestAnimationFrame(() => setTimeout(() => {
      document.documentElement.dataset.ready = String(Math.round(performance.now()));
    }));
  }

  foot() {
    const { payload } = this.model;
    const text = payload.live ? "This page reads from this machine only." : "This page is one file: it holds its data and asks nothing of any network.";
    return el("footer", { class: "foot" }, el("p", {}, `Made by ztxexp ${payload.ztxexp}. ${text}`));
  }

  retheme() {
    setTheme(this.store.state.theme);
    for (const one of this.panels) if (one.chart || one.drawn) one.redraw?.();
  }

  /** Take a delta; return whether it could be merged. */
  merge(delta) {
    const changed = this.model.merge(delta);
    if (changed === null) return false;
    this.refresh(changed);
    return true;
  }

  /** Take another payload; what the reader has chosen stays. */
  replace(payload) {
    this.model.set(payload);
    this.view.refresh();
    this.table.recolumn();
    this.refresh(null);
  }

  /** Show what has changed; `null`: anything may have. Large drawings follow at their leisure. */
  refresh(changed) {
    const has = (...parts) => changed === null || parts.some((part) => changed.has(part));
    if (has("runs")) {
      this.view.refresh();
      this.table.refill();
      this.drawer.refresh();
    }
    for (const one of this.panels) if (one.part && has(one.part)) keeping(one.node, () => one.refresh());
    if (has("runs", "curves")) this.redrawLater();
    for (const node of [this.head.bar, this.head.node]) keeping(node, () => node === this.head.bar ? this.head.showBar() : this.head.showHead());
  }

  redrawLater() {
    if (this.waiting) return;
    this.waiting = setTimeout(() => {
      this.waiting = 0;
      for (const one of this.panels) if (one.follow) one.follow();
      keeping(this.head.bar, () => this.head.showBar());
    }, this.drawnOnce ? PAUSE : 0);
    this.drawnOnce = true;
  }
}

async function begin() {
  const place = document.getElementById("app");
  const store = new Store();
  setTheme(store.state.theme);
  try {
    const inside = await embedded();
    const payload = inside ?? (await get("/api/data"));
    const app = new App(payload, store);
    app.show(place);
    globalThis.ztxexpPage = app;
    if (inside === null) follow(app);
  } catch (error) {
    put(place, el("main", { class: "page" }, el("h1", {}, "This page cannot be shown"), el("p", { class: "problem", role: "alert" }, String(error.message ?? error))));
    throw error;
  }
}

begin();
