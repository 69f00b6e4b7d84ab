// The container page: its log, read on when the container is started again.

import { LogPane } from "./logpane.js";
import { subscribe } from "./socket.js";

const root = document.querySelector("[data-log]");
if (root) {
  const pane = new LogPane(root);
  subscribe(`container:${root.dataset.container}`, () => pane.resume());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) pane.draw();
  });
}
