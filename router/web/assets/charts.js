// The small charts of the live view, drawn by uPlot (a classic script: window.uPlot). Colours come from the page's
// custom properties, so a chart follows the colour scheme.

import { make, setText } from "./dom.js";
import { amount, clock } from "./format.js";
import { span } from "./history.js";

const height = 80;
const style = getComputedStyle(document.documentElement);
const color = (name) => style.getPropertyValue(name).trim();

/** One chart: a kind of measure of one revision, with its numbers as text above. */
export class Chart {
  #plot;
  #numbers;
  #kind;
  #picture;
  #top = 2;
  #newest = 0;

  /** onTime is called with the time in ms that the pointer is at on any chart, or null. */
  constructor(kind, onTime) {
    this.#kind = kind;
    this.#numbers = kind.measures.map(() => make("b", { textContent: "–" }));
    this.#picture = make("div", { className: "plot", role: "img" });
    const two = kind.measures.length > 1;
    this.element = make("div", { className: "chart" },
      make("div", { className: "chart-head" },
        make("span", { className: "kind", textContent: kind.title }),
        make("span", { className: "numbers" }, ...kind.measures.map((m, i) => make("span", { className: `number line-${i}` },
          this.#numbers[i], ...(two ? [" ", m] : []))))),
      this.#picture);
    this.#plot = new uPlot(this.#options(onTime), [[], ...kind.measures.map(() => [])], this.#picture);
    new ResizeObserver(() => this.#resize()).observe(this.#picture);
  }

  /** Shows data as History gives it, up to top on the axis. */
  update(data, top) {
    this.#top = top;
    this.#newest = data[0].at(-1) ?? 0;
    this.#plot.setData(data);
    this.#write(this.#plot.cursor.idx);
    const now = this.#kind.measures.map((m, i) => `${amount(data[i + 1].at(-1))} ${m}`).join(", ");
    this.#picture.setAttribute("aria-label", `${this.#kind.title} over the last 5 minutes; now ${now}`);
  }

  /** Draws again in the colours there are now. */
  recolor() { this.#plot.redraw(); }

  /** Frees the chart. */
  remove() {
    this.#plot.destroy();
    this.element.remove();
  }

  #resize() {
    const width = this.#picture.clientWidth;
    if (width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height });
  }

  // The numbers are those under the pointer, else the newest.
  #write(idx) {
    this.#kind.measures.forEach((_, i) => {
      const values = this.#plot.data[i + 1];
      setText(this.#numbers[i], amount(values[idx ?? values.length - 1]));
    });
  }

  #options(onTime) {
    const stepped = uPlot.paths.stepped({ align: 1 });
    const line = (_, i) => (i === 0
      ? { stroke: () => color("--accent"), fill: () => color("--accent-soft"), width: 1.75 }
      : { stroke: () => color("--muted"), dash: [4, 3], width: 1.25 });
    return {
      width: 200,
      height,
      padding: [8, 2, 6, 0],
      legend: { show: false },
      cursor: { sync: { key: "live", scales: ["x", null] }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { time: true, range: () => [this.#newest - span, this.#newest] },
        y: { range: () => [0, this.#top] },
      },
      axes: [
        { show: false },
        {
          size: 30,
          gap: 4,
          font: `11px ${color("--font")}`,
          stroke: () => color("--muted"),
          splits: () => [0, this.#top / 2, this.#top],
          values: (_, splits) => splits.map((v, i) => (i === 1 ? "" : short(v))),
          ticks: { show: false },
          grid: { stroke: () => color("--line"), width: 1 },
        },
      ],
      series: [{}, ...this.#kind.measures.map((m, i) => ({ label: m, paths: stepped, points: { show: false }, ...line(m, i) }))],
      hooks: {
        setCursor: [(u) => {
          this.#write(u.cursor.idx);
          onTime(u.cursor.idx == null ? null : u.data[0][u.cursor.idx] * 1000);
        }],
      },
    };
  }
}

const short = (x) => (x >= 10_000 ? `${x / 1000}k` : String(x));

/** "at 14:03:07", or nothing. */
export const timeText = (ms) => (ms == null ? "" : ` · at ${clock(ms)}`);
