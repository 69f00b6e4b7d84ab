// The tab's one WebSocket. Topics share it, survive a drop and are asked for again at every reconnect.

const FIRST_RETRY = 500;
const LAST_RETRY = 15000;
const CALM = 1500; // a drop shorter than this is not worth a banner

const topics = new Map(); // topic -> { opening: () => frame, closing: op, listeners: Set of functions }
let socket = null;
let failures = 0;
let timer = null;
let banner = null;

export const isOpen = () => socket !== null && socket.readyState === WebSocket.OPEN;

/** Receive hints about `topic` ("project:…", "container:…"); the first one, also after a drop, is "subscribed". */
export function subscribe(topic, receive) {
  return join(topic, { opening: () => ({ op: "subscribe", topic }), closing: "unsubscribe" }, receive);
}

/** Follow a log; `from()` gives position or tail to go on with, also after a drop. */
export function follow(topic, from, receive) {
  const opening = () => ({ op: "follow", topic, ...from() });
  return join(topic, { opening, closing: "unfollow" }, receive);
}

export function send(frame) {
  if (isOpen()) socket.send(JSON.stringify(frame));
}

function join(topic, made, receive) {
  const known = topics.get(topic);
  const entry = known ?? { ...made, listeners: new Set() };
  entry.listeners.add(receive);
  topics.set(topic, entry);
  // A second listener asks again too: what it shows may be older than the subscription.
  if (isOpen()) send(entry.opening());
  else connect();
  return () => {
    entry.listeners.delete(receive);
    if (entry.listeners.size || !topics.delete(topic)) return;
    send({ op: entry.closing, topic });
  };
}

function connect() {
  if (socket !== null || !topics.size) return;
  clearTimeout(timer);
  timer = null;
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const mine = (socket = new WebSocket(`${scheme}//${location.host}/ws`));
  mine.addEventListener("open", opened);
  mine.addEventListener("message", (event) => deliver(JSON.parse(event.data)));
  mine.addEventListener("close", () => {
    if (socket === mine) closed();
  });
}

function opened() {
  failures = 0;
  for (const entry of topics.values()) send(entry.opening());
  tell(true);
}

function closed() {
  socket = null;
  failures += 1;
  // Full jitter: after a restart of the server the tabs do not all come back in the same moment.
  const longest = Math.min(LAST_RETRY, FIRST_RETRY * 2 ** Math.min(failures, 10));
  timer = setTimeout(connect, FIRST_RETRY / 2 + Math.random() * longest);
  tell(false);
}

function deliver(frame) {
  topics.get(frame.topic)?.listeners.forEach((receive) => receive(frame));
}

function tell(open) {
  document.dispatchEvent(new CustomEvent("slipway:socket", { detail: { open } }));
  clearTimeout(banner);
  const element = document.getElementById("offline");
  if (!element) return;
  if (open) element.hidden = true;
  else banner = setTimeout(() => (element.hidden = false), CALM);
}

function now() {
  if (socket !== null || !topics.size) return;
  failures = 0;
  connect();
}

window.addEventListener("online", now);
window.addEventListener("pageshow", now);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) now();
});
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-reconnect]")) now();
});
window.addEventListener("pagehide", () => {
  // Leaving is no drop: no banner flashes on the way out.
  const mine = socket;
  socket = null;
  mine?.close();
});
