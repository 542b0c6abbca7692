// The live page: what changes comes by server-sent events and is merged into what is there.

import { get } from "./data/load.js";

const PAUSE = 3000; // milliseconds before another try

/** Follow the server from a payload on. */
export function follow(app) {
  let source = null;
  let timer = 0;

  function listen() {
    source = new EventSource(`/api/events?since=${app.model.payload.state}`);
    source.addEventListener("open", () => app.head.connection("live"));
    source.addEventListener("delta", (event) => {
      app.head.connection("live");
      if (!app.merge(JSON.parse(event.data))) renew();
    });
    source.addEventListener("reload", renew);
    source.addEventListener("error", () => {
      app.head.connection("lost");
      // The address says where we stand; the browser's own tries would ask from the start.
      source.close();
      again();
    });
  }

  function again() {
    clearTimeout(timer);
    timer = setTimeout(listen, PAUSE);
  }

  async function renew() {
    source?.close();
    try {
      app.replace(await get("/api/data"));
      app.head.connection("live");
      listen();
    } catch {
      app.head.connection("lost");
      clearTimeout(timer);
      timer = setTimeout(renew, PAUSE);
    }
  }

  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => event.persisted && listen());
  listen();
}
