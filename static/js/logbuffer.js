// Lines of a log in memory, in order of position; no DOM.

import { PLAIN, isPlain, parse, strip } from "./ansi.js";

export const MOST = 200000; // lines kept; earlier ones are fetched again when somebody scrolls up
const CHUNK = 20000;

export class LogBuffer {
  constructor() {
    this.lines = []; // { at, time, stream, text, whole, style }
    this.next = null; // position to go on from; null before anything was read
    this.complete = false; // the first line here is the log's first
    this.style = PLAIN;
  }

  get length() {
    return this.lines.length;
  }

  /** Append entries `[position, time, stream, text, whole]`; returns how many rows were added. */
  append(entries, next) {
    const before = this.lines.length;
    for (const entry of entries) {
      // Read again after a drop: what is here already is not added twice.
      if (this.next !== null && entry[0] < this.next) continue;
      this.style = add(this.lines, entry, this.style);
    }
    if (this.next === null || next > this.next) this.next = next;
    return this.lines.length - before;
  }

  /** Put earlier entries in front; returns how many rows were added. */
  prepend(entries) {
    const earlier = [];
    const first = this.lines.length ? this.lines[0].at : Infinity;
    let style = PLAIN;
    for (const entry of entries) if (entry[0] < first) style = add(earlier, entry, style);
    const last = earlier.at(-1);
    if (last && !last.whole && this.lines.length) joinRows(last, this.lines.shift());
    this.lines = earlier.concat(this.lines);
    return earlier.length;
  }

  /** Drop the oldest rows above MOST; returns how many went. */
  trim() {
    if (this.lines.length <= MOST) return 0;
    const dropped = Math.max(this.lines.length - MOST, CHUNK);
    this.lines.splice(0, dropped);
    this.complete = false;
    return dropped;
  }

  /** Index of the row at or after the position. */
  find(position) {
    let low = 0;
    let high = this.lines.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.lines[middle].at < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Rows from `start` on whose text contains `needle` (lower case). */
  matches(needle, start = 0) {
    const found = [];
    for (let index = start; index < this.lines.length; index += 1) {
      if (strip(this.lines[index].text).toLowerCase().includes(needle)) found.push(index);
    }
    return found;
  }
}

function add(lines, [at, time, stream, text, whole], style) {
  const last = lines.at(-1);
  if (last && !last.whole && last.stream === stream) {
    joinRows(last, { text, whole });
  } else {
    lines.push({ at, time, stream, text, whole, style });
  }
  return isPlain(text) ? style : parse(text, style).style;
}

/** A long line comes in parts; they are one row. */
function joinRows(row, rest) {
  row.text += rest.text;
  row.whole = rest.whole;
}
