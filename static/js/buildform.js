// The form of a new build: what belongs to the chosen source, line numbers, and an archive on its way.

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const mebi = (bytes) => `${number.format(bytes / 1048576)} MiB`;

class BuildForm {
  constructor(form) {
    this.form = form;
    for (const part of ["error", "message", "code", "drop", "progress", "progress-text", "cancel"]) {
      this[part] = form.querySelector(`[data-part="${part}"]`);
    }
    this.file = form.querySelector("input[type=file]");
    this.submit = form.querySelector("[type=submit]");
    form.addEventListener("change", () => this.choose());
    form.addEventListener("submit", (event) => this.begin(event));
    this.cancel.addEventListener("click", () => this.request?.abort());
    this.drop.addEventListener("dragover", (event) => this.over(event, true));
    this.drop.addEventListener("dragleave", (event) => this.over(event, false));
    this.drop.addEventListener("drop", (event) => {
      this.over(event, false);
      if (event.dataTransfer.files.length) this.file.files = event.dataTransfer.files;
    });
    this.choose();
  }

  get source() {
    return this.form.elements.source.value || "none";
  }

  over(event, on) {
    event.preventDefault();
    this.drop.classList.toggle("over", on);
  }

  choose() {
    for (const part of this.form.querySelectorAll("[data-for]")) {
      part.hidden = !part.dataset.for.split(" ").includes(this.source);
    }
  }

  begin(event) {
    if (this.source !== "upload") return;
    event.preventDefault();
    const [file] = this.file.files;
    if (!file) return this.fail({ detail: "Choose an archive first." });
    const body = new FormData();
    try {
      body.append("options", JSON.stringify(this.options(file)));
    } catch (error) {
      return this.fail({ detail: error.message });
    }
    body.append("context", file, file.name);
    const request = (this.request = new XMLHttpRequest());
    request.open("POST", this.form.dataset.door);
    request.setRequestHeader("X-CSRFToken", JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"]);
    request.responseType = "json";
    request.upload.addEventListener("progress", (sent) => this.show(sent.loaded, sent.total));
    request.addEventListener("load", () => this.answered(request));
    request.addEventListener("error", () => this.fail({ detail: "The connection broke; nothing was built." }));
    request.addEventListener("abort", () => this.fail({ detail: "Cancelled; nothing was built." }));
    this.busy(true);
    this.show(0, file.size);
    request.send(body);
  }

  options(file) {
    const value = (name) => this.form.elements[name].value.trim();
    const options = { name: file.name, dockerfile: value("dockerfile") || "Dockerfile" };
    const tags = value("tags").split(/[\s,]+/).filter(Boolean);
    if (tags.length) options.tags = tags;
    for (const name of ["target", "platform", "group"]) if (value(name)) options[name] = value(name);
    for (const name of ["args", "secrets"]) options[name] = pairs(this.form.elements[name].value);
    for (const name of ["no_cache", "pull"]) options[name] = this.form.elements[name].checked;
    if (value("memory")) options.memory_bytes = Number(value("memory")) * 1048576;
    return options;
  }

  show(loaded, total) {
    this.progress.querySelector("progress").value = total ? loaded / total : 0;
    const text = loaded < total ? `${mebi(loaded)} of ${mebi(total)} sent` : "Sent. The node takes it in…";
    this["progress-text"].textContent = text;
  }

  answered(request) {
    if (request.status === 202) location.assign(`${this.form.dataset.builds}${request.response.number}/`);
    else this.fail(request.response ?? { detail: `The server answered ${request.status}.` });
  }

  fail({ detail, code = "", errors = [] }) {
    this.busy(false);
    const more = errors.map((error) => `${error.field}: ${error.message ?? error.detail ?? ""}`);
    this.message.textContent = [detail, ...more].join(" ");
    this.code.textContent = code;
    this.error.hidden = false;
    this.error.scrollIntoView({ block: "nearest" });
  }

  busy(on) {
    this.progress.hidden = !on;
    this.cancel.hidden = !on;
    this.submit.disabled = on;
    if (on) this.error.hidden = true;
  }
}

function pairs(text) {
  const found = {};
  for (const line of text.split("\n").filter((each) => each.trim())) {
    const at = line.indexOf("=");
    if (at < 1) throw new Error(`"${line.slice(0, 60)}": a line like NAME=value is needed.`);
    found[line.slice(0, at).trim()] = line.slice(at + 1);
  }
  return found;
}

/** Line numbers beside a plain text area. */
function numbered(editor) {
  const [lines, area] = [editor.firstElementChild, editor.querySelector("textarea")];
  const count = () => {
    const wanted = area.value.split("\n").length;
    lines.textContent = Array.from({ length: wanted }, (_, index) => index + 1).join("\n");
    lines.style.height = `${area.clientHeight}px`;
    lines.scrollTop = area.scrollTop;
  };
  area.addEventListener("input", count);
  area.addEventListener("scroll", () => (lines.scrollTop = area.scrollTop));
  new ResizeObserver(count).observe(area);
  count();
}

for (const form of document.querySelectorAll("[data-build-form]")) new BuildForm(form);
for (const editor of document.querySelectorAll("[data-editor]")) numbered(editor);
