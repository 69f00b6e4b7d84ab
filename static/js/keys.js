// The keyboard: off while typing, and switchable off altogether in the sheet that `?` opens.

const SWITCH = "slipway-keys";
const TWO_STROKES = 1200;
let selected = ""; // where the chosen row of a list leads

export function startKeys(palette) {
  const sheet = document.getElementById("keys");
  const box = sheet.querySelector("input");
  box.checked = on();
  box.addEventListener("change", () => localStorage.setItem(SWITCH, box.checked ? "on" : "off"));
  let went = -Infinity; // when g was pressed
  document.addEventListener("htmx:afterSettle", selectAgain);

  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      palette.open();
      return;
    }
    if (!on() || typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const second = performance.now() - went < TWO_STROKES;
    went = -Infinity;
    if (second) return jump(event.key);
    if (event.key === "g") went = performance.now();
    else press(event, palette, sheet);
  });
}

const on = () => localStorage.getItem(SWITCH) !== "off";

function typing(event) {
  if (document.querySelector("dialog[open]")) return true;
  const target = event.target;
  return target.isContentEditable || target.matches?.("input, textarea, select");
}

function jump(key) {
  const link = document.querySelector(`[data-jump="${CSS.escape(key)}"]`);
  if (link) location.assign(link.href);
}

function press(event, palette, sheet) {
  const action = {
    "/": () => search(palette),
    "?": () => sheet.showModal(),
    c: () => document.querySelector("[data-create]")?.click(),
    j: () => step(1),
    k: () => step(-1),
    Enter: () => document.querySelector("tr[data-selected] a")?.click(),
  }[event.key];
  if (!action) return;
  if (event.key === "Enter" && (event.target !== document.body || !document.querySelector("tr[data-selected]"))) return;
  event.preventDefault();
  action();
}

function search(palette) {
  const field = document.querySelector("[data-search]");
  if (field) field.focus();
  else palette.open();
}

function step(direction) {
  const rows = [...document.querySelectorAll("tr[data-href]")];
  if (!rows.length) return;
  const before = rows.findIndex((row) => row.hasAttribute("data-selected"));
  rows[before]?.removeAttribute("data-selected");
  const next = rows[Math.min(rows.length - 1, Math.max(0, before + direction))];
  next.setAttribute("data-selected", "");
  selected = next.dataset.href;
  next.scrollIntoView({ block: "nearest" });
}

// A list that came anew still has the row that was chosen in the old one.
function selectAgain() {
  if (!selected || document.querySelector("tr[data-selected]")) return;
  document.querySelector(`tr[data-href="${CSS.escape(selected)}"]`)?.setAttribute("data-selected", "");
}
