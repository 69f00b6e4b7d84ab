// Ctrl/Cmd+K: jump to a page, a project or a container by typing a part of its name.

export function startPalette() {
  return new Palette(document.getElementById("palette"));
}

class Palette {
  constructor(dialog) {
    this.dialog = dialog;
    this.input = dialog.querySelector("input");
    this.list = dialog.querySelector("ul");
    this.none = dialog.querySelector(".none");
    this.items = [];
    this.current = 0;
    this.input.addEventListener("input", () => this.draw());
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("click", (event) => this.go(event.target.closest("li")));
    document.addEventListener("click", (event) => {
      if (event.target.closest("[data-palette]")) this.open();
    });
  }

  async open() {
    if (this.dialog.open) return;
    this.input.value = "";
    this.dialog.showModal();
    this.draw();
    const answer = await fetch(this.dialog.dataset.src);
    if (!answer.ok) return;
    this.items = (await answer.json()).items;
    this.draw();
  }

  draw() {
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = this.items.filter(({ label, hint }) => {
      const text = `${label} ${hint}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    this.current = 0;
    this.list.replaceChildren(...shown.slice(0, 40).map((item, index) => this.row(item, index)));
    this.none.hidden = shown.length > 0 || this.items.length === 0;
    this.select(0);
  }

  row(item, index) {
    const row = document.createElement("li");
    row.id = `palette-${index}`;
    row.setAttribute("role", "option");
    row.dataset.url = item.url;
    const icon = this.dialog.querySelector("template").content.firstElementChild.cloneNode(true);
    const use = icon.querySelector("use");
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${item.icon}`));
    const label = document.createElement("span");
    label.textContent = item.label;
    const hint = document.createElement("small");
    hint.textContent = item.hint;
    row.append(icon, label, hint);
    return row;
  }

  key(event) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      this.select(this.current + (event.key === "ArrowDown" ? 1 : -1));
    }
    if (event.key === "Enter") {
      event.preventDefault();
      this.go(this.list.children[this.current]);
    }
  }

  select(index) {
    const rows = [...this.list.children];
    if (!rows.length) {
      this.input.removeAttribute("aria-activedescendant");
      return;
    }
    this.current = (index + rows.length) % rows.length;
    rows.forEach((row, at) => row.setAttribute("aria-selected", String(at === this.current)));
    this.input.setAttribute("aria-activedescendant", rows[this.current].id);
    rows[this.current].scrollIntoView({ block: "nearest" });
  }

  go(row) {
    if (row) location.assign(row.dataset.url);
  }
}
