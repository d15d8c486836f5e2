// Where a picture comes from: an address, a file, a drop, a paste or a sample. Whatever the way, it ends as one
// Picture {blob, name, from, caption} in a "picture" event; an address first becomes an "address" event, because
// fetching it takes the router.

import { byId, make } from "./dom.js";

// What the models decode. Anything else that the browser can decode is sent as PNG.
const sendable = ["image/jpeg", "image/png", "image/gif", "image/bmp"];

/** The left half of the page. Dispatches CustomEvents "picture", "address" and "sample", and "problem" with a text. */
export class PictureInput extends EventTarget {
  #view = byId("picture");
  #url = byId("url");

  constructor() {
    super();
    byId("url-form").addEventListener("submit", (e) => {
      e.preventDefault();
      this.#address(this.#url.value);
    });
    byId("example-url").addEventListener("click", () => {
      this.#url.value = this.#url.placeholder;
      this.#address(this.#url.value);
    });
    byId("file").addEventListener("change", (e) => {
      const [file] = e.target.files;
      if (file) this.#file(file);
      e.target.value = "";
    });
    this.#listenForDrops();
    document.addEventListener("paste", (e) => this.#paste(e));
  }

  /** Shows the sample pictures as buttons. */
  set samples(samples) {
    byId("samples").replaceChildren(...samples.map((sample) => {
      const src = `/home/samples/${encodeURIComponent(sample.file)}`;
      const button = make("button", {
        type: "button",
        title: sample.title,
        "aria-pressed": "false",
        on: { click: () => this.dispatchEvent(new CustomEvent("sample", { detail: { ...sample, path: src } })) },
      }, make("img", { src, alt: sample.title, loading: "lazy", decoding: "async" }));
      button.dataset.file = sample.file;
      return make("li", {}, button);
    }));
    byId("samples-block").hidden = samples.length === 0;
  }

  /** Shows a picture, its caption and, if it is a sample, which one. */
  show(picture) {
    URL.revokeObjectURL(this.#view.src);
    this.#view.src = URL.createObjectURL(picture.blob);
    this.#view.alt = picture.alt || picture.name;
    this.#view.hidden = false;
    byId("picture-empty").hidden = true;
    const caption = byId("caption");
    caption.replaceChildren(...picture.caption);
    caption.hidden = picture.caption.length === 0;
    for (const button of byId("samples").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.file === picture.sample));
    }
  }

  #address(text) {
    let url = text.trim();
    if (url && !/^[a-z][a-z0-9+.-]*:/i.test(url)) url = `https://${url}`;
    if (!/^https?:\/\/./i.test(url) || !URL.canParse(url)) {
      this.#problem("An address that starts with http:// or https:// is needed.");
      this.#url.focus();
      return;
    }
    this.dispatchEvent(new CustomEvent("address", { detail: url }));
  }

  async #file(file) {
    if (!file.type.startsWith("image/")) {
      this.#problem(`${file.name || "That"} is no picture.`);
      return;
    }
    try {
      const picture = await pictureOf(file, file.name || "picture.png");
      this.dispatchEvent(new CustomEvent("picture", { detail: picture }));
    } catch (err) {
      this.#problem(err.message);
    }
  }

  #paste(event) {
    const file = [...event.clipboardData.files].find((f) => f.type.startsWith("image/"));
    const typing = event.target.closest?.("input, textarea");
    const text = event.clipboardData.getData("text/plain").trim();
    if (byId("image-input").hidden || (typing && !file)) return;
    if (file) {
      event.preventDefault();
      this.#file(file);
    } else if (/^https?:\/\/\S+$/.test(text)) {
      this.#url.value = text;
      this.#address(text);
    }
  }

  // The whole page takes drops: a picture that misses its frame would else replace the page.
  #listenForDrops() {
    const frame = byId("drop");
    let depth = 0;
    const mark = (d) => {
      depth = Math.max(0, d);
      frame.classList.toggle("over", depth > 0);
    };
    document.addEventListener("dragenter", () => mark(depth + 1));
    document.addEventListener("dragleave", () => mark(depth - 1));
    document.addEventListener("dragover", (e) => e.preventDefault());
    document.addEventListener("drop", (e) => {
      e.preventDefault();
      mark(0);
      if (byId("image-input").hidden) return;
      const [file] = e.dataTransfer.files;
      const link = e.dataTransfer.getData("text/uri-list").split("\n")[0].trim();
      if (file) {
        this.#file(file);
      } else if (link) {
        this.#url.value = link;
        this.#address(link);
      }
    });
  }

  #problem(text) {
    this.dispatchEvent(new CustomEvent("problem", { detail: text }));
  }
}

/** A Picture of a Blob, in an encoding that the models take. Throws an Error that can be shown. */
export async function pictureOf(blob, name, more = {}) {
  const picture = { blob, name, caption: [], ...more };
  if (sendable.includes(blob.type)) return picture;
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    throw new Error(`${name} cannot be shown: a JPEG, PNG, GIF or BMP picture is needed.`);
  }
  const canvas = make("canvas", { width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  const png = await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  if (!png) throw new Error(`${name} is too large to be changed into a PNG.`);
  // The original cannot be sent with curl as it is, so the picture counts as a file of its own.
  return { ...picture, blob: png, name: name.replace(/\.\w+$/, "") + ".png", url: undefined };
}

/** The caption of a sample: what it shows and whose it is. */
export function sampleCaption({ title, expected, licence, source }) {
  const parts = [make("strong", { textContent: title })];
  const classes = [expected ?? []].flat().join(" or ");
  if (classes) parts.push(` · expected: ${classes}`);
  if (licence) parts.push(` · ${licence}`);
  if (/^https?:\/\//.test(source ?? "")) {
    parts.push(" · ", make("a", { href: source, textContent: "source", rel: "noopener noreferrer", target: "_blank" }));
  } else if (source) {
    parts.push(` · ${source}`);
  }
  return parts;
}
