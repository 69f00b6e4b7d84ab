// A page with a log; one that `data-watch`es a topic is read on when that says that there may be more.

import { LogPane } from "./logpane.js";
import { subscribe } from "./socket.js";

const root = document.querySelector("[data-log]");
if (root) {
  const pane = new LogPane(root);
  if (root.dataset.watch) subscribe(root.dataset.watch, () => pane.resume());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) pane.draw();
  });
}
