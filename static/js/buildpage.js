// The record of a build: one log for the whole build, its lines laid below the steps that wrote them.
//
// The list of steps is a live region and is replaced again and again; the panes with lines are ours and are
// put back into it, and a step that somebody opened or closed stays so.

import { PLAIN, parse, span } from "./ansi.js";
import { follow, isOpen, send } from "./socket.js";

const TAIL = 20000;
const ROWS_MAX = 3000; // of one step; the whole log can be downloaded
const POLLING = 2500;
const RETRY = 2000;

class Pane {
  constructor() {
    this.root = document.createElement("div");
    this.root.className = "build-pane";
    this.root.setAttribute("role", "log");
    this.root.setAttribute("aria-live", "off");
    this.root.tabIndex = 0;
    this.style = PLAIN;
    this.last = null; // the row whose line goes on
    this.dropped = false;
  }

  append([at, time, stream, text, whole], marked) {
    const kind = stream.split(":")[1];
    const goesOn = this.last !== null && this.last.dataset.kind === kind;
    const row = goesOn ? this.last : this.row(at, time, kind, marked);
    const { runs, style } = parse(text, this.style);
    row.lastElementChild.append(...runs.map(span));
    this.style = style;
    this.last = whole ? null : row;
    if (!goesOn) this.root.append(row);
    if (this.root.childElementCount > ROWS_MAX) this.drop();
  }

  row(at, time, kind, marked) {
    const row = document.createElement("div");
    row.className = kind === "stderr" ? "log-row log-err" : "log-row";
    row.dataset.kind = kind;
    row.id = `p${at}`;
    if (at === marked) row.classList.add("marked");
    const link = document.createElement("a");
    link.className = "log-at";
    link.href = `#p${at}`;
    link.textContent = "#";
    link.tabIndex = -1;
    link.title = "Link to this line";
    const words = document.createElement("span");
    words.className = "log-text";
    words.title = time;
    row.append(link, words);
    return row;
  }

  drop() {
    const first = this.root.firstElementChild;
    if (!this.dropped) {
      const note = document.createElement("div");
      note.className = "build-more";
      note.textContent = "Earlier lines are in the download.";
      this.root.prepend(note);
      this.dropped = true;
    }
    (first.className === "build-more" ? first.nextElementSibling : first).remove();
  }
}

class Record {
  constructor(region) {
    this.region = region;
    this.topic = region.dataset.buildLog;
    this.panes = new Map();
    this.choices = new Map(); // step → open, where somebody chose
    this.next = null;
    this.ended = false;
    this.marked = /^#p\d+$/.test(location.hash) ? Number(location.hash.slice(2)) : null;
    region.addEventListener("htmx:afterSwap", () => this.dress());
    region.addEventListener("click", (event) => this.clicked(event));
    this.dress();
    follow(this.topic, () => this.from(), (frame) => this.receive(frame));
    setInterval(() => this.poll(), POLLING);
  }

  from() {
    if (this.next !== null) return { position: this.next };
    return this.marked !== null ? { position: Math.max(0, this.marked - (1 << 20)) } : { tail: TAIL };
  }

  receive(frame) {
    if (frame.error) {
      if (frame.retry) setTimeout(() => send({ op: "follow", topic: this.topic, ...this.from() }), RETRY);
      return;
    }
    const atEnd = new Map();
    for (const entry of frame.entries) {
      if (this.next !== null && entry[0] < this.next) continue;
      const step = entry[2].split(":")[0];
      const pane = this.pane(step);
      if (!atEnd.has(pane)) atEnd.set(pane, isAtEnd(pane.root));
      pane.append(entry, this.marked);
    }
    if (frame.next > (this.next ?? -1)) this.next = frame.next;
    this.ended = frame.end;
    for (const [pane, stays] of atEnd) if (stays && this.marked === null) pane.root.scrollTop = pane.root.scrollHeight;
    if (frame.entries.length) this.dress();
    send({ op: "ack", topic: this.topic, next: frame.next });
    this.show();
  }

  pane(step) {
    if (!this.panes.has(step)) this.panes.set(step, new Pane());
    return this.panes.get(step);
  }

  /** Put the panes where their steps are now, and open what was opened. */
  dress() {
    for (const item of this.region.querySelectorAll("[data-step]")) {
      const { step } = item.dataset;
      const details = item.querySelector("details");
      if (this.choices.has(step)) details.open = this.choices.get(step);
      const pane = this.panes.get(step);
      const place = item.querySelector('[data-part="log"]');
      if (pane && pane.root.parentElement !== place) {
        const top = pane.scrolled ?? pane.root.scrollTop;
        const stays = pane.wasAtEnd ?? true;
        place.replaceChildren(pane.root);
        pane.root.scrollTop = stays ? pane.root.scrollHeight : top;
        pane.root.onscroll = () => {
          pane.scrolled = pane.root.scrollTop;
          pane.wasAtEnd = isAtEnd(pane.root);
        };
      }
    }
  }

  clicked(event) {
    const line = event.target.closest(".log-at, .build-link");
    if (line) {
      event.preventDefault();
      history.replaceState(null, "", line.hash);
      this.region.querySelector(".log-row.marked")?.classList.remove("marked");
      line.closest(".log-row")?.classList.add("marked");
      navigator.clipboard?.writeText(location.href).catch(() => {});
      return;
    }
    const summary = event.target.closest("summary");
    const item = summary?.closest("[data-step]");
    if (item) this.choices.set(item.dataset.step, !item.querySelector("details").open);
  }

  /** The line or step that the address names, once it is there. */
  show() {
    if (this.shown || !location.hash) return;
    const target = document.getElementById(location.hash.slice(1));
    if (!target) return;
    this.shown = true;
    const item = target.closest("[data-step]");
    if (item) {
      item.querySelector("details").open = true;
      this.choices.set(item.dataset.step, true);
    }
    target.scrollIntoView({ block: "center" });
  }

  async poll() {
    if (isOpen() || document.hidden || this.ended) return;
    try {
      const answer = await fetch(`${this.region.dataset.url}?${new URLSearchParams(this.from())}`);
      if (answer.ok) this.receive(await answer.json());
    } catch {
      // The banner tells already; the next attempt follows.
    }
  }
}

const isAtEnd = (view) => view.scrollTop + view.clientHeight >= view.scrollHeight - 4;

const region = document.querySelector("[data-build-log]");
if (region) new Record(region);
