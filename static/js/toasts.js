// Toasts only confirm; what went wrong stays where it happened. The server sends them as an HX-Trigger.

const SHOWN = 5000;

export function startToasts() {
  const place = document.getElementById("toasts");
  document.body.addEventListener("toast", (event) => {
    const line = document.createElement("div");
    line.className = "toast-line";
    line.textContent = event.detail.value ?? event.detail.text;
    place.append(line);
    setTimeout(() => line.remove(), SHOWN);
  });
  for (const line of place.children) setTimeout(() => line.remove(), SHOWN);
}
