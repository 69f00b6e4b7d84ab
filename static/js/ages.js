// <time data-age> says how long ago, and keeps saying it; its title has the exact time.

const STEPS = [
  [60, 1, "second"],
  [3600, 60, "minute"],
  [86400, 3600, "hour"],
  [2592000, 86400, "day"],
  [31536000, 2592000, "month"],
  [Infinity, 31536000, "year"],
];
const EVERY = 10000;

export function startAges() {
  age(document);
  setInterval(() => age(document), EVERY);
  document.addEventListener("htmx:afterSettle", (event) => age(event.target));
}

function age(root) {
  for (const element of root.querySelectorAll("time[data-age]")) {
    const at = new Date(element.dateTime);
    element.title = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
    const text = ago((Date.now() - at.getTime()) / 1000);
    if (element.textContent !== text) element.textContent = text;
  }
}

function ago(seconds) {
  if (seconds < 5) return "just now";
  for (const [below, unit, word] of STEPS) {
    if (seconds >= below) continue;
    const count = Math.floor(seconds / unit);
    return `${count} ${word}${count === 1 ? "" : "s"} ago`;
  }
  return "";
}
