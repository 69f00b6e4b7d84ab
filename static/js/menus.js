// Menus are <details>: they close on Escape and on a click elsewhere. The theme menu is one of them.

export function startMenus() {
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
    const row = event.target.closest("tr[data-href]");
    if (row && !event.target.closest("a, button, input, label") && document.getSelection().isCollapsed) {
      location.assign(row.dataset.href);
    }
    const choice = event.target.closest("[data-theme]");
    if (choice) {
      window.slipwayTheme.choose(choice.dataset.theme);
      press();
      choice.closest("details").open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
  press();
}

function press() {
  const chosen = window.slipwayTheme.chosen();
  for (const button of document.querySelectorAll("[data-theme]")) {
    button.setAttribute("aria-pressed", String(button.dataset.theme === chosen));
  }
}
