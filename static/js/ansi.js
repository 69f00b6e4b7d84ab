// Terminal colours to spans. Pure: text and the style it begins with in, runs and the style it ends with out.

const ESCAPE = /\x1b(?:\[([0-9;:]*)([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-~])/g;
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f]/g;
const LEVELS = [0, 95, 135, 175, 215, 255];

export const PLAIN = Object.freeze({});

export const isPlain = (text) => !/[\x00-\x08\x0b-\x1f\x7f]/.test(text);

/** What a terminal would show of a line in which a carriage return went back over earlier text. */
function lastWritten(text) {
  const shown = text.endsWith("\r") ? text.slice(0, -1) : text;
  const back = shown.lastIndexOf("\r");
  return back < 0 ? shown : shown.slice(back + 1);
}

export function strip(text) {
  return isPlain(text) ? text : lastWritten(text).replace(ESCAPE, "").replace(CONTROL, "");
}

/** `{ runs: [{ text, style }], style }` */
export function parse(text, style = PLAIN) {
  const runs = [];
  let from = 0;
  const shown = lastWritten(text);
  const add = (piece) => {
    const clean = piece.replace(CONTROL, "");
    if (clean) runs.push({ text: clean, style });
  };
  for (const match of shown.matchAll(ESCAPE)) {
    add(shown.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[2] === "m") style = applied(style, match[1]);
  }
  add(shown.slice(from));
  return { runs, style };
}

function applied(style, parameters) {
  const codes = parameters === "" ? [0] : parameters.split(/[;:]/).map(Number);
  let next = { ...style };
  for (let index = 0; index < codes.length; index += 1) {
    const code = codes[index];
    if (code === 38 || code === 48) {
      const [colour, used] = extended(codes.slice(index + 1));
      next[code === 38 ? "ink" : "ground"] = colour;
      index += used;
    } else {
      next = simple(next, code);
    }
  }
  return next;
}

const ON = { 1: "b", 2: "d", 3: "i", 4: "u", 7: "r", 9: "s" };
const OFF = { 22: ["b", "d"], 23: ["i"], 24: ["u"], 27: ["r"], 29: ["s"], 39: ["ink"], 49: ["ground"] };

function simple(style, code) {
  if (code === 0) return {};
  if (ON[code]) return { ...style, [ON[code]]: true };
  if (code >= 30 && code <= 37) return { ...style, ink: code - 30 };
  if (code >= 90 && code <= 97) return { ...style, ink: code - 82 };
  if (code >= 40 && code <= 47) return { ...style, ground: code - 40 };
  if (code >= 100 && code <= 107) return { ...style, ground: code - 100 };
  if (!OFF[code]) return style;
  const next = { ...style };
  for (const name of OFF[code]) delete next[name];
  return next;
}

/** The colour after 38 or 48, and how many numbers it took: one of 16 by number, any other as rgb(). */
function extended([kind, ...rest]) {
  if (kind === 2) return [`rgb(${rest.slice(0, 3).map((value) => value & 255).join(" ")})`, 4];
  if (kind !== 5) return [undefined, 0];
  const number = rest[0] & 255;
  if (number < 16) return [number, 2];
  if (number >= 232) {
    const grey = 8 + (number - 232) * 10;
    return [`rgb(${grey} ${grey} ${grey})`, 2];
  }
  const cube = number - 16;
  const part = (step) => LEVELS[Math.floor(cube / step) % 6];
  return [`rgb(${part(36)} ${part(6)} ${part(1)})`, 2];
}

/** A span for the run; colours outside the sixteen go through the style object, which a strict CSP allows. */
export function span(run) {
  const element = document.createElement("span");
  element.textContent = run.text;
  const { ink, ground, ...flags } = run.style;
  for (const flag of Object.keys(flags)) element.classList.add(`a-${flag}`);
  if (typeof ink === "number") element.classList.add(`f${ink}`);
  else if (ink) element.style.color = ink;
  if (typeof ground === "number") element.classList.add(`g${ground % 8}`);
  else if (ground) element.style.backgroundColor = ground;
  return element;
}
