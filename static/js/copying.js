// <button data-copy="text"> or data-copy-from="#id"; a tick for two seconds says that it worked.

const SHOWN = 2000;

export function startCopying() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (!button) return;
    event.preventDefault();
    const source = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
    await copy(source ? (source.value ?? source.textContent) : button.dataset.copy);
    const use = button.querySelector("use");
    if (!use) return;
    const before = use.getAttribute("href");
    use.setAttribute("href", before.replace(/#.*/, "#check"));
    setTimeout(() => use.setAttribute("href", before), SHOWN);
  });
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Plain HTTP on another machine's address: no clipboard API there.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
