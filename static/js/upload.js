// An archive on its way to the REST door, with progress. XMLHttpRequest, because fetch tells nothing of uploads.

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

class Upload {
  constructor(form) {
    this.form = form;
    for (const part of ["error", "message", "code", "drop", "progress", "progress-text", "cancel"]) {
      this[part] = form.querySelector(`[data-part="${part}"]`);
    }
    this.file = form.querySelector("input[type=file]");
    this.bar = this.progress.querySelector("progress");
    this.submit = form.querySelector("[type=submit]");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin();
    });
    this.cancel.addEventListener("click", () => this.request?.abort());
    this.listenForDrops();
  }

  listenForDrops() {
    const over = (on) => (event) => {
      event.preventDefault();
      this.drop.classList.toggle("over", on);
    };
    this.drop.addEventListener("dragover", over(true));
    this.drop.addEventListener("dragleave", over(false));
    this.drop.addEventListener("drop", (event) => {
      over(false)(event);
      if (event.dataTransfer.files.length) this.file.files = event.dataTransfer.files;
    });
  }

  begin() {
    const [file] = this.file.files;
    if (!file) return this.fail({ detail: "Choose an archive first." });
    const request = (this.request = new XMLHttpRequest());
    request.open("POST", this.address());
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("X-CSRFToken", JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"]);
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => this.show(event.loaded, file.size));
    request.addEventListener("load", () => this.answered(request));
    request.addEventListener("error", () => this.fail({ detail: "The connection broke; nothing was imported." }));
    request.addEventListener("abort", () => this.fail({ detail: "Cancelled; nothing was imported." }));
    this.busy(true);
    this.show(0, file.size);
    request.send(file);
  }

  address() {
    const query = new URLSearchParams();
    for (const name of ["name", "tag"]) {
      const value = this.form.elements[name].value.trim();
      if (value) query.set(name, value);
    }
    for (const line of this.form.elements.change.value.split("\n")) if (line.trim()) query.append("change", line);
    return `${this.form.dataset.upload}?${query}`;
  }

  show(loaded, total) {
    this.bar.value = total ? loaded / total : 0;
    const mebi = (bytes) => `${number.format(bytes / 1048576)} MiB`;
    const text = loaded < total ? `${mebi(loaded)} of ${mebi(total)} sent` : "Sent. The node is checking it…";
    this["progress-text"].textContent = text;
  }

  answered(request) {
    if (request.status === 202 || request.status === 201) {
      // The import itself is a job; its page shows how far it is.
      location.assign(`/jobs/${request.response.id}/`);
    } else {
      this.fail(request.response ?? { detail: `The server answered ${request.status}.` });
    }
  }

  fail({ detail, code = "" }) {
    this.busy(false);
    this.message.textContent = detail;
    this.code.textContent = code;
    this.error.hidden = false;
  }

  busy(on) {
    this.progress.hidden = !on;
    this.cancel.hidden = !on;
    this.submit.disabled = on;
    if (on) this.error.hidden = true;
  }
}

for (const form of document.querySelectorAll("[data-upload]")) new Upload(form);
