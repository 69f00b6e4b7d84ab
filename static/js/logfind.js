// Find in the lines the pane holds: marks what matches, walks from one to the next.

const PAUSE = 150;
const number = new Intl.NumberFormat("en");

export class Finder {
  constructor(pane) {
    this.pane = pane;
    this.input = pane.root.querySelector('[data-part="find"]');
    this.output = pane.root.querySelector('[data-part="found"]');
    this.needle = "";
    this.found = [];
    this.current = -1;
    this.searched = 0;
    this.input.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.search(), PAUSE);
    });
    this.input.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    if (event.key === "Enter") {
      event.preventDefault();
      if (this.input.value.toLowerCase() !== this.needle) this.search();
      else this.step(event.shiftKey ? -1 : 1);
    }
    if (event.key === "Escape") {
      this.input.value = "";
      this.search();
      this.pane.view.focus();
    }
  }

  search() {
    clearTimeout(this.timer);
    this.needle = this.input.value.toLowerCase();
    this.again();
    this.current = -1;
    this.pane.redraw();
    if (this.found.length) this.step(1);
  }

  /** Rows moved: numbers found before mean nothing now. */
  again() {
    this.found = this.needle ? this.pane.buffer.matches(this.needle) : [];
    this.searched = this.pane.buffer.length;
    this.current = Math.min(this.current, this.found.length - 1);
    this.tell();
  }

  grown() {
    if (this.needle) this.found.push(...this.pane.buffer.matches(this.needle, this.searched));
    this.searched = this.pane.buffer.length;
    this.tell();
  }

  step(direction) {
    if (!this.found.length) return;
    this.current = (this.current + direction + this.found.length) % this.found.length;
    this.pane.show(this.found[this.current]);
    this.tell();
  }

  tell() {
    const place = this.current < 0 ? "" : `${number.format(this.current + 1)} of `;
    this.output.textContent = this.needle ? `${place}${number.format(this.found.length)}` : "";
  }

  /** Wrap what matches within one row; a match across a change of colour is not marked. */
  mark(element) {
    if (!this.needle) return;
    for (const run of [...element.childNodes]) {
      const text = run.textContent;
      const lower = text.toLowerCase();
      if (!lower.includes(this.needle)) continue;
      run.replaceChildren(...pieces(text, lower, this.needle));
    }
  }
}

function pieces(text, lower, needle) {
  const made = [];
  let from = 0;
  for (let at = lower.indexOf(needle); at >= 0; at = lower.indexOf(needle, from)) {
    const mark = document.createElement("mark");
    mark.textContent = text.slice(at, at + needle.length);
    made.push(text.slice(from, at), mark);
    from = at + needle.length;
  }
  made.push(text.slice(from));
  return made;
}
