// <button data-dialog="id"> opens the <dialog id>; the browser keeps focus inside and gives it back after. Where
// a hint's refresh has replaced the button meanwhile, it gives it to nobody, and its successor gets it here.

export function startDialogs() {
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-dialog]");
    if (opener) document.getElementById(opener.dataset.dialog)?.showModal();
    const closer = event.target.closest("[data-close]");
    if (closer) closer.closest("dialog").close();
    // The backdrop belongs to the dialog element itself; its content lies in child elements.
    if (event.target instanceof HTMLDialogElement) event.target.close();
  });
  // A dialog's close does not bubble, but it is captured.
  document.addEventListener("close", ({ target }) => focusLost(target) && openerOf(target)?.focus(), true);
  document.addEventListener("input", (event) => {
    const name = event.target.dataset.typeName;
    if (name !== undefined) event.target.form.querySelector("[data-armed]").disabled = event.target.value !== name;
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) event.target.closest?.("dialog[open]")?.close();
  });
}

function focusLost(closed) {
  const active = document.activeElement;
  return active === null || active === document.body || closed.contains(active);
}

function openerOf(dialog) {
  return dialog.id ? document.querySelector(`[data-dialog="${CSS.escape(dialog.id)}"]`) : null;
}
