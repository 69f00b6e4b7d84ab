// Toasts only confirm; what went wrong stays where it happened. The server sends them as a header, read from the
// request itself: the button that sent it may have been replaced by a hint's refresh before the answer came.

const SHOWN = 5000;

export function startToasts() {
  const place = document.getElementById("toasts");
  document.body.addEventListener("htmx:beforeRequest", ({ detail: { xhr } }) => {
    xhr.addEventListener("load", () => {
      const text = xhr.getResponseHeader("Slipway-Toast");
      if (text) show(place, JSON.parse(text));
    });
  });
  for (const line of place.children) fade(line);
}

function show(place, text) {
  const line = document.createElement("div");
  line.className = "toast-line";
  line.textContent = text;
  place.append(line);
  fade(line);
}

function fade(line) {
  setTimeout(() => line.remove(), SHOWN);
}
