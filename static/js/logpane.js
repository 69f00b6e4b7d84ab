// The log pane: a window of rows over a LogBuffer, fed by the socket, or by plain GETs while it is down.

import { parse, span } from "./ansi.js";
import { LogBuffer } from "./logbuffer.js";
import { Finder } from "./logfind.js";
import { follow, isOpen, send } from "./socket.js";

const ROW = 20; // px; log.css says the same
const OVERSCAN = 30;
const TAIL = 5000;
const POLLING = 2500;
const RETRY = 2000;
const number = new Intl.NumberFormat("en");

export class LogPane {
  constructor(root) {
    this.root = root;
    this.url = root.dataset.url;
    this.topic = root.dataset.log;
    for (const part of ["view", "space", "rows", "more", "count", "note", "empty", "status"]) {
      this[part] = root.querySelector(`[data-part="${part}"]`);
    }
    this.buffer = new LogBuffer();
    this.waiting = []; // frames not yet drawn
    this.drawn = [-1, -1];
    this.following = true;
    this.pinned = 0; // where the last pinning left the view
    this.unread = 0;
    this.ended = false;
    this.marked = markedIn(location.hash);
    this.finder = new Finder(this);
    this.listen();
    this.open();
  }

  // ---------------------------------------------------------------- bytes

  open() {
    if (this.marked !== null) this.following = false;
    this.close = follow(this.topic, () => this.from(), (frame) => this.receive(frame));
    clearInterval(this.poller);
    this.poller = setInterval(() => this.poll(), POLLING);
  }

  from() {
    if (this.buffer.next !== null) return { position: this.buffer.next };
    return this.marked !== null ? { position: this.marked } : { tail: TAIL };
  }

  receive(frame) {
    this.waiting.push(frame);
    if (this.frame === undefined) this.frame = requestAnimationFrame(() => this.flush());
  }

  /** Once per animation frame, however many messages came. */
  flush() {
    cancelAnimationFrame(this.frame);
    this.frame = undefined;
    const frames = this.waiting;
    this.waiting = [];
    let added = 0;
    for (const frame of frames) added += this.take(frame);
    const last = frames.findLast((frame) => frame.next !== undefined);
    // The server sends only so much ahead of this: a slow browser makes it wait, not buffer.
    if (last) send({ op: "ack", topic: this.topic, next: last.next });
    if (!this.following) this.unread += added;
    this.forget(this.following ? this.buffer.trim() : 0);
    if (added) this.finder.grown();
    this.draw();
  }

  take(frame) {
    if (frame.error) return this.failed(frame);
    const first = this.buffer.next === null;
    const added = this.buffer.append(frame.entries, frame.next);
    // Whole log or only its tail? The first line of a log is at position 0.
    if (first && frame.entries.length) this.buffer.complete = frame.entries[0][0] === 0;
    this.ended = frame.end;
    this.status.textContent = "";
    return added;
  }

  failed(frame) {
    this.status.textContent = frame.error.message;
    if (frame.retry) setTimeout(() => send({ op: "follow", topic: this.topic, ...this.from() }), RETRY);
    return 0;
  }

  async poll() {
    if (isOpen() || document.hidden || this.polling) return;
    this.polling = true;
    try {
      this.receive(await this.get(this.from()));
    } catch {
      // The banner tells already; the next attempt follows.
    } finally {
      this.polling = false;
    }
  }

  async get(parameters) {
    const answer = await fetch(`${this.url}?${new URLSearchParams(parameters)}`);
    if (!answer.ok) throw new Error(`${answer.status}`);
    return answer.json();
  }

  /** The container started again: read on where the last run ended. */
  resume() {
    if (this.waiting.length) this.flush(); // the end may be among what has come and is not yet drawn
    if (this.ended && isOpen()) {
      this.ended = false;
      send({ op: "follow", topic: this.topic, ...this.from() });
    }
  }

  async earlier() {
    if (this.loading || this.buffer.complete || !this.buffer.length) return;
    this.loading = true;
    this.note.textContent = "Reading earlier lines…";
    try {
      const chunk = await this.get({ before: this.buffer.lines[0].at, tail: 2 * TAIL });
      const added = this.buffer.prepend(chunk.entries);
      this.buffer.complete = !chunk.entries.length || chunk.entries[0][0] === 0;
      this.forget(-added);
      this.finder.again();
    } catch {
      this.note.textContent = "Earlier lines could not be read; scroll up to try again.";
    } finally {
      this.loading = false;
      this.draw();
    }
  }

  /** Rows went (or came, if negative) at the top: what is being read stays where it is. */
  forget(rows) {
    if (rows === 0) return;
    this.pinned = 0;
    this.drawn = [-1, -1];
    this.finder.again();
    if (rows < 0) this.resize();
    this.view.scrollTop = Math.max(0, this.view.scrollTop - rows * ROW);
  }

  // ---------------------------------------------------------------- rows

  resize() {
    this.space.style.height = `${this.buffer.length * ROW}px`;
  }

  draw() {
    const { buffer, view } = this;
    this.resize();
    if (this.marked !== null && !this.placed && buffer.length) this.place();
    this.pin();
    const first = Math.max(0, Math.floor(view.scrollTop / ROW) - OVERSCAN);
    const last = Math.min(buffer.length, Math.ceil((view.scrollTop + view.clientHeight) / ROW) + OVERSCAN);
    if (first !== this.drawn[0] || last !== this.drawn[1]) this.render(first, last);
    this.tell();
  }

  /** Stay at the end while following; a reader who has just scrolled up is noticed before their scroll event. */
  pin() {
    if (this.following && this.view.scrollTop < this.pinned - ROW) this.following = false;
    if (!this.following) return;
    this.view.scrollTop = this.view.scrollHeight;
    this.pinned = this.view.scrollTop;
  }

  render(first, last) {
    const rows = document.createDocumentFragment();
    for (let index = first; index < last; index += 1) rows.append(this.row(this.buffer.lines[index]));
    this.rows.replaceChildren(rows);
    this.rows.style.transform = `translateY(${first * ROW}px)`;
    this.drawn = [first, last];
  }

  redraw() {
    this.drawn = [-1, -1];
    this.draw();
  }

  row(line) {
    const row = document.createElement("div");
    row.className = line.stream === "stderr" ? "log-row log-err" : "log-row";
    if (line.at === this.marked) row.classList.add("marked");
    const link = document.createElement("a");
    link.className = "log-at";
    link.href = `#p${line.at}`;
    link.textContent = "#";
    link.tabIndex = -1;
    link.title = "Link to this line";
    const time = document.createElement("span");
    time.className = "log-time";
    time.textContent = clock(line.time);
    time.title = line.time;
    const text = document.createElement("span");
    text.className = "log-text";
    text.append(...parse(line.text, line.style).runs.map(span));
    this.finder.mark(text);
    row.append(link, time, text);
    return row;
  }

  tell() {
    const { buffer } = this;
    this.count.textContent = `${number.format(buffer.length)} line${buffer.length === 1 ? "" : "s"}`;
    this.empty.hidden = buffer.length > 0;
    this.note.hidden = buffer.complete || !buffer.length;
    if (!this.loading) this.note.textContent = "Scroll to the top for earlier lines.";
    this.more.hidden = this.following || this.unread === 0;
    if (!this.more.hidden) {
      const word = this.unread === 1 ? "new line" : "new lines";
      this.more.lastElementChild.textContent = `${number.format(this.unread)} ${word}`;
    }
  }

  // ---------------------------------------------------------------- people

  listen() {
    this.view.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.more.addEventListener("click", () => this.toEnd());
    this.rows.addEventListener("click", (event) => this.clicked(event));
    this.root.addEventListener("click", (event) => this.tool(event.target.closest("[data-tool]")));
    document.addEventListener("selectionchange", () => this.selected());
    new ResizeObserver(() => {
      this.pinned = 0;
      this.draw();
    }).observe(this.view);
    this.root.classList.toggle("times", localStorage.getItem("slipway-log-times") === "on");
    this.press("times", this.root.classList.contains("times"));
  }

  scrolled() {
    const { view } = this;
    const atEnd = view.scrollTop + view.clientHeight >= view.scrollHeight - 4;
    if (atEnd) this.unread = 0;
    this.following = atEnd;
    if (view.scrollTop < 5 * ROW) this.earlier();
    this.draw();
  }

  /** Lines must not move below somebody who is marking them. */
  selected() {
    const selection = document.getSelection();
    if (!selection.isCollapsed && this.rows.contains(selection.anchorNode)) this.following = false;
  }

  toEnd() {
    this.following = true;
    this.pinned = 0;
    this.unread = 0;
    this.draw();
    this.view.focus({ preventScroll: true });
  }

  /** Bring the row into the middle. */
  show(index) {
    this.following = false;
    this.view.scrollTop = Math.max(0, index * ROW - this.view.clientHeight / 2);
    this.redraw();
  }

  place() {
    this.placed = true;
    this.show(this.buffer.find(this.marked));
    this.buffer.complete = this.marked === 0;
    if (!this.buffer.complete) this.earlier();
  }

  clicked(event) {
    const link = event.target.closest(".log-at");
    if (!link) return;
    event.preventDefault();
    this.marked = markedIn(link.hash);
    this.placed = true;
    history.replaceState(null, "", link.hash);
    navigator.clipboard?.writeText(location.href).catch(() => {});
    this.following = false;
    this.redraw();
  }

  tool(button) {
    if (button?.dataset.tool === "times") {
      const on = this.root.classList.toggle("times");
      localStorage.setItem("slipway-log-times", on ? "on" : "off");
      this.press("times", on);
    }
    if (button?.dataset.tool === "end") this.toEnd();
    if (button?.dataset.tool === "start") this.toStart();
  }

  async toStart() {
    this.following = false;
    while (!this.buffer.complete && this.buffer.length) {
      const before = this.buffer.length;
      await this.earlier();
      if (this.buffer.length === before) break;
    }
    this.view.scrollTop = 0;
    this.draw();
  }

  press(tool, on) {
    this.root.querySelector(`[data-tool="${tool}"]`).setAttribute("aria-pressed", String(on));
  }
}

const markedIn = (hash) => (/^#p\d+$/.test(hash) ? Number(hash.slice(2)) : null);

const two = (value, width = 2) => String(value).padStart(width, "0");

/** The reader's own time of day; the row's title has the exact one. */
function clock(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return text;
  const day = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return `${day}.${two(at.getMilliseconds(), 3)}`;
}
