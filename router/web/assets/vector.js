// An answer that is a vector of numbers: its length, its Euclidean norm and a strip chart of its values in order.

import { copy, make } from "./dom.js";

/** The view of a vector. */
export function vectorView(v) {
  const norm = Math.hypot(...v);
  const low = v.reduce((a, b) => Math.min(a, b), Infinity);
  const high = v.reduce((a, b) => Math.max(a, b), -Infinity);
  const button = make("button", { type: "button", className: "quiet", textContent: "Copy the numbers" });
  button.addEventListener("click", () => copy(JSON.stringify(v), button));
  const canvas = make("canvas", {
    role: "img",
    "aria-label": `Strip chart of ${v.length} numbers from ${low.toPrecision(3)} to ${high.toPrecision(3)}`,
  });
  const number = (name, value) => make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }));
  keepDrawn(canvas, v, Math.min(0, low), Math.max(0, high));
  return make("div", { className: "vector" },
    make("p", { className: "vector-title" }, make("strong", { textContent: "Feature vector" }), ", for search by similarity"),
    canvas,
    make("dl", {}, number("Length", String(v.length)), number("Norm", norm.toFixed(3)),
      number("Smallest", low.toPrecision(3)), number("Largest", high.toPrecision(3))),
    button);
}

// Draws again when the size or the colour scheme changes, for as long as the canvas is in the page.
function keepDrawn(canvas, v, low, high) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const sizes = new ResizeObserver(() => redraw());
  const redraw = () => {
    if (canvas.isConnected) {
      draw(canvas, v, low, high);
    } else {
      sizes.disconnect();
      dark.removeEventListener("change", redraw);
    }
  };
  sizes.observe(canvas);
  dark.addEventListener("change", redraw);
}

// One column a pixel: it reaches from the smallest to the largest of the values that fall on it, and to zero.
function draw(canvas, v, low, high) {
  const scale = devicePixelRatio || 1;
  const width = Math.max(1, Math.round(canvas.clientWidth * scale));
  const height = Math.max(1, Math.round(canvas.clientHeight * scale));
  canvas.width = width;
  canvas.height = height;
  const g = canvas.getContext("2d");
  g.fillStyle = getComputedStyle(canvas).color;
  const y = (x) => height * (1 - (x - low) / (high - low || 1));
  const columns = Math.min(width, v.length);
  for (let c = 0; c < columns; c++) {
    const part = v.slice(Math.floor(c * v.length / columns), Math.max(Math.floor((c + 1) * v.length / columns), Math.floor(c * v.length / columns) + 1));
    const top = y(Math.max(0, ...part));
    const bottom = y(Math.min(0, ...part));
    const x = Math.round(c * width / columns);
    g.fillRect(x, top, Math.max(1, Math.round((c + 1) * width / columns) - x), Math.max(1, bottom - top));
  }
}
