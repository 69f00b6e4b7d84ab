// Regions that show facts: asked for again when a hint says so, and by polling while the socket is down.
//
//   <div data-topic="project:…" hx-get="…" hx-trigger="refresh">

import { isOpen, subscribe } from "./socket.js";

const SPACING = 400;
const GATHERING = 60; // the answers to several subscriptions arrive together
const POLLING = 4000;
const LOOKING = 15000; // a hint may be lost on its way, so the facts are looked at now and then anyway

class Region {
  constructor(element) {
    this.element = element;
    this.last = -Infinity;
    this.timer = null;
    for (const topic of element.dataset.topic.split(" ")) {
      subscribe(topic, () => this.refresh());
    }
  }

  /** Almost at once, and then at most every SPACING: a burst of hints costs two requests. */
  refresh() {
    if (this.timer !== null || !this.element.isConnected) return;
    const wait = Math.max(GATHERING, this.last + SPACING - performance.now());
    this.timer = setTimeout(() => {
      this.timer = null;
      this.last = performance.now();
      window.htmx.trigger(this.element, "refresh");
    }, wait);
  }
}

const regions = [];

export function startRegions() {
  for (const element of document.querySelectorAll("[data-topic][hx-get]")) regions.push(new Region(element));
  for (const element of document.querySelectorAll("[data-poll][hx-get]")) poll(element);
  const refresh = () => !document.hidden && regions.forEach((region) => region.refresh());
  setInterval(() => isOpen() || refresh(), POLLING);
  setInterval(() => isOpen() && refresh(), LOOKING);
}

/** Facts without a topic (the nodes, jobs of all projects): asked for every few seconds while looked at. */
function poll(element) {
  setInterval(() => {
    if (!document.hidden && element.isConnected) window.htmx.trigger(element, "refresh");
  }, Number(element.dataset.poll) * 1000);
}
