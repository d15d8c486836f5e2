// One run of weir load as charts and tables (a classic script: the report has it inline, the live page as a file). Text
// is always set as text: nothing that a server answered can become markup.
"use strict";

const el = (tag, props = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
};
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = matchMedia("(prefers-color-scheme: dark)");
// Colours that people with the usual kinds of colour blindness tell apart (Okabe and Ito), a set for each scheme.
const palette = () => (dark.matches
  ? ["#56b4e9", "#e69f00", "#35c79a", "#f08bb4", "#f0e442", "#ff8a65", "#b9a3ff", "#c4d0d6"]
  : ["#0072b2", "#b35c00", "#00795a", "#a8447c", "#7a6f00", "#c1440e", "#5b3fb0", "#51626a"]);

const fmt = (x, digits = 1) => {
  if (x == null || Number.isNaN(x)) return "–";
  if (Math.abs(x) >= 10000) return Math.round(x).toLocaleString("en");
  return Number.isInteger(x) || Math.abs(x) >= 100 ? String(Math.round(x)) : x.toFixed(digits);
};
const ms = (x) => (x == null ? "–" : x >= 1000 ? `${(x / 1000).toFixed(2)} s` : `${fmt(x)} ms`);
// A latency of good answers, if there was one.
const good = (summary, x) => (summary.ok ? x : null);
const clock = (t) => `${Math.floor(t / 60)}:${String(Math.floor(t % 60)).padStart(2, "0")}`;
const ceil = (x) => {
  if (!(x > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(x));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((f) => f * unit).find((top) => top >= x * 0.999);
};

const short = (run, name) => {
  const revision = run.revisions.find((r) => r.name === name);
  return revision && run.revisions.filter((r) => r.service === revision.service).length === 1 ? revision.service : name;
};
// Only revisions that did something in the run, or were to.
const active = (run) => run.revisions.map((r) => r.name).filter((name) => run.rows.some((row) => {
  const x = row.revisions?.[name];
  return x && (x.ready || x.wanted || x.queue);
}));
const perRevision = (run, ...measures) => active(run).flatMap((name) => measures.map(([key, label, dashed]) => ({
  label: label ? `${short(run, name)} ${label}` : short(run, name), group: name, dashed, get: (row) => row.revisions?.[name]?.[key] ?? null,
})));

// The charts; series says what is drawn for a run.
const charts = [
  { key: "load", title: "Users, and arrivals a second wanted", whole: true, series: (run) => used(run, [
    { label: "users", get: (r) => r.users, stepped: true, color: 0 }, { label: "arrivals/s", get: (r) => r.rate, color: 1 }]) },
  { key: "rate", title: "Requests a second", unit: "/s", series: () => [
    { label: "sent", get: (r) => r.sent, dashed: true, color: 7 }, { label: "answered", get: (r) => r.ok, color: 2 },
    { label: "refused", get: (r) => r.refused, color: 1 }, { label: "failed", get: (r) => r.failed, color: 5 }] },
  { key: "latency", title: "Latency of good answers", unit: "ms", series: () => [
    { label: "p50", get: (r) => r.p50, color: 0 }, { label: "p95", get: (r) => r.p95, color: 1 }, { label: "p99", get: (r) => r.p99, color: 6, dashed: true }] },
  { key: "refusals", title: "Refusals, and connecting (p99)", unit: "ms", series: (run) => (run.rows.some((r) => r.refusedP99 != null) ? [
    { label: "refused, from request to answer", get: (r) => r.refusedP99, color: 1 },
    { label: "any request, until it had a connection", get: (r) => r.connectP99, color: 7, dashed: true }] : []) },
  { key: "replicas", title: "Replicas", marks: true, whole: true, stepped: true, series: (run) => perRevision(run, ["ready", "ready"], ["wanted", "wanted", true]) },
  { key: "concurrency", title: "Requests at the replicas", series: (run) => perRevision(run, ["concurrency"]) },
  { key: "queue", title: "Requests that wait in weir", whole: true, series: (run) => perRevision(run, ["queue"]) },
  { key: "cpu", title: "Processors used", series: (run) => [...perRevision(run, ["cpu"]),
    ...(hasEngine(run) ? [{ label: "weir", get: (r) => r.engine?.cpu ?? null, color: 6 }] : []), { label: "sender", get: (r) => r.generator, color: 7 },
    { label: "together", get: (r) => total(r, "cpu") + r.generator, dashed: true, color: 5 }] },
  { key: "memory", title: "Memory of replicas and weir", unit: "MB", series: (run) => [...perRevision(run, ["memory"]), ...(hasEngine(run)
    ? [{ label: "weir", get: (r) => r.engine?.memory ?? null, color: 6 }, { label: "together", get: (r) => total(r, "memory"), dashed: true, color: 5 }] : [])] },
  { key: "each", title: "Processors used by each replica", series: (run) => perReplica(run, "cpu") },
  { key: "eachMemory", title: "Memory of each replica", unit: "MB", series: (run) => perReplica(run, "memory") },
];

// What the engine did not tell is not drawn; a note says why.
const unknown = (run, key) => run.unknown?.includes({ each: "cpu", eachMemory: "memory" }[key] ?? key) ?? false;
// Series that are not nought all the time; the first if there is none.
const used = (run, all) => {
  const some = all.filter((s) => run.rows.some((r) => s.get(r)));
  return some.length ? some : all.slice(0, 1);
};
const hasEngine = (run) => run.rows.some((r) => r.engine);
const total = (row, key) => Object.values(row.revisions ?? {}).reduce((sum, r) => sum + r[key], row.engine?.[key] ?? 0);

function perReplica(run, key) {
  const names = new Map();
  for (const row of run.rows) {
    for (const [revision, r] of Object.entries(row.revisions ?? {})) {
      for (const name of Object.keys(r.replicas ?? {})) names.set(name, revision);
    }
  }
  return [...names].map(([name, revision]) => ({ label: name, get: (row) => row.revisions?.[revision]?.replicas?.[name]?.[key] ?? null }));
}

/** A chart with its legend. */
class Plot {
  #spec; #plot; #names = ""; #top = 1; #end = 1; #run; #series = [];

  constructor(spec, sync) {
    this.#spec = spec;
    this.legend = el("div", { className: "legend" });
    this.canvas = el("div", { className: "canvas" });
    this.canvas.setAttribute("role", "img");
    this.told = el("p", { className: "told" });
    this.element = el("section", { className: "card plot-card" }, el("h3", { textContent: spec.title }), this.legend, this.canvas,
      ...(spec.marks ? [this.told] : []));
    this.element.dataset.chart = spec.key;
    this.sync = sync;
    new ResizeObserver(() => {
      const width = this.canvas.clientWidth;
      if (this.#plot && width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: 190 });
    }).observe(this.canvas);
    dark.addEventListener("change", () => { this.#names = ""; if (this.#run) this.update(this.#run, this.#top); });
  }

  /** The greatest value, for an axis. */
  static top(spec, run) {
    let most = 0;
    for (const s of spec.series(run)) for (const row of run.rows) most = Math.max(most, s.get(row) ?? 0);
    return most;
  }

  update(run, top, end) {
    this.#run = run;
    this.#series = this.#spec.series(run);
    this.#top = ceil(top);
    this.#end = end ?? this.#end;
    const names = this.#series.map((s) => s.label).join("\n");
    if (names !== this.#names || !this.#plot) this.#build(names);
    this.#plot.setData([run.rows.map((r) => r.t), ...this.#series.map((s) => run.rows.map((r) => s.get(r)))]);
    this.#write(null);
    this.canvas.setAttribute("aria-label", `${this.#spec.title} over ${clock(run.seconds)}; at most ${fmt(top)} ${this.#spec.unit ?? ""}`);
  }

  #build(names) {
    this.#names = names;
    this.#plot?.destroy();
    const colors = palette();
    const groups = new Map();
    this.#series.forEach((s, i) => {
      if (!groups.has(s.group ?? i)) groups.set(s.group ?? i, groups.size);
      s.stroke = colors[(s.color ?? groups.get(s.group ?? i)) % colors.length];
    });
    // Many replicas have many names: the chart shows their shape, the CSV which is which.
    const shown = this.#series.slice(0, 12);
    this.numbers = shown.map(() => el("b"));
    this.legend.replaceChildren(...shown.map((s, i) => {
      const key = el("i", { className: s.dashed ? "dashed" : "" });
      key.style.setProperty("--line-color", s.stroke);
      return el("span", {}, key, s.label, this.numbers[i]);
    }));
    const text = () => css("--muted");
    const grid = { stroke: () => css("--line"), width: 1 };
    const font = `11px ${css("--font")}`;
    this.#plot = new uPlot({
      width: Math.max(200, this.canvas.clientWidth), height: 190, padding: [10, 18, 0, 0], legend: { show: false },
      cursor: { sync: { key: this.sync, scales: ["x", null] }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: false, range: () => [0, this.#end] }, y: { range: () => [0, this.#top] } },
      axes: [
        { stroke: text, font, grid: { show: false }, ticks: { ...grid, size: 4 }, values: (_, v) => v.map(clock), size: 28, space: 60,
          incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400] },
        { stroke: text, font, grid, ticks: { show: false }, size: 52, values: (_, v) => v.map((x) => fmt(x, this.#top < 1 ? 2 : 1)), space: 34,
          ...(this.#spec.whole ? { incrs: [1, 2, 5].flatMap((f) => [0, 1, 2, 3, 4, 5].map((e) => f * 10 ** e)).sort((a, b) => a - b) } : {}) },
      ],
      series: [{}, ...this.#series.map((s) => ({
        label: s.label, stroke: s.stroke, width: s.dashed ? 1.5 : 2, dash: s.dashed ? [5, 4] : undefined, points: { show: false },
        paths: this.#spec.stepped || s.stepped ? uPlot.paths.stepped({ align: -1 }) : undefined,
      }))],
      hooks: { setCursor: [(u) => { this.#write(u.cursor.idx); this.#tell(u); }], drawAxes: [(u) => this.#drawStages(u)], draw: [(u) => this.#drawMarks(u)] },
    }, [[], ...this.#series.map(() => [])], this.canvas);
  }

  // The numbers are those under the pointer, else the greatest.
  #write(idx) {
    const rows = this.#run.rows;
    this.numbers.forEach((node, i) => {
      const get = this.#series[i].get;
      const x = idx != null && rows[idx] ? get(rows[idx]) : rows.reduce((most, r) => (get(r) == null ? most : Math.max(most ?? 0, get(r))), null);
      node.textContent = `${fmt(x, this.#top < 1 ? 2 : 1)}${x != null && this.#spec.unit ? ` ${this.#spec.unit}` : ""}`;
    });
  }

  // What the marks beside the pointer stand for.
  #tell(u) {
    const near = (m) => Math.abs(u.valToPos(m.t, "x") - u.cursor.left) <= 6;
    this.told.textContent = [
      ...this.#run.decisions.filter(near).map((d) => `${clock(d.t)} ${d.revision} ${d.from} → ${d.wanted}: stable ${fmt(d.stable, 2)}, panic window ` +
        `${fmt(d.panicConcurrency, 2)}, target ${fmt(d.target, 2)}${d.panic ? ", in panic mode" : ""}`),
      ...this.#run.cold.filter(near).map((c) => `${clock(c.t)} ${c.revision}: waited ${ms(c.latency)} for a start`),
    ].join("\n");
  }

  #drawStages(u) {
    this.#lines(u, this.#run.stages.map((s) => s.begin).filter((t) => t > 0.5), css("--line-strong"), [2, 4]);
  }

  // Scaling decisions are triangles at the top, up or down; cold starts are dots at the bottom.
  #drawMarks(u) {
    if (!this.#spec.marks) return;
    const { ctx, bbox } = u;
    const unit = devicePixelRatio || 1;
    ctx.save();
    for (const d of this.#run.decisions) {
      const x = u.valToPos(d.t, "x", true);
      const y = bbox.top + 8 * unit;
      const up = d.wanted > d.from ? -1 : 1;
      ctx.fillStyle = d.panic ? css("--bad") : css("--accent");
      ctx.beginPath();
      ctx.moveTo(x, y + up * 5 * unit);
      ctx.lineTo(x - 5 * unit, y - up * 4 * unit);
      ctx.lineTo(x + 5 * unit, y - up * 4 * unit);
      ctx.fill();
    }
    ctx.fillStyle = css("--warn");
    for (const c of this.#run.cold) {
      ctx.beginPath();
      ctx.arc(u.valToPos(c.t, "x", true), bbox.top + bbox.height - 4 * unit, 3 * unit, 0, 7);
      ctx.fill();
    }
    ctx.restore();
  }

  #lines(u, times, stroke, dash) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.strokeStyle = stroke;
    ctx.lineWidth = devicePixelRatio || 1;
    ctx.setLineDash(dash);
    for (const t of times) {
      const x = Math.round(u.valToPos(t, "x", true)) + 0.5;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }
}

/** A table: columns are [title, value of a row, kind], kind being "text" or "wide text". */
const fill = (section, title, note, columns, rows) => {
  section.className = `card section${rows.length ? "" : " none"}`;
  const line = (tag, cells) => el("tr", {}, ...cells.map(([text, kind]) => el(tag, { textContent: text, className: kind ?? "" })));
  section.replaceChildren(el("h2", { textContent: title }), ...(note ? [el("p", { className: "hint", textContent: note })] : []),
    el("div", { className: "scroll" }, el("table", {},
      el("thead", {}, line("th", columns.map(([name, , kind]) => [name, kind]))),
      el("tbody", {}, ...rows.map((r) => line("td", columns.map(([, value, kind]) => [String(value(r)), kind])))))));
};

let runCount = 0;

/** A run, under a parent element. */
class RunView {
  constructor(parent, run) {
    this.head = el("header");
    this.notes = el("ul", { className: "notes" });
    this.verdicts = el("div", { className: "verdicts" });
    this.tiles = el("div", { className: "tiles" });
    const sync = `run-${runCount++}`;
    this.plots = charts.map((spec) => new Plot(spec, sync));
    this.tables = Object.fromEntries(["summaries", "decisions", "failures", "exceptions", "cold"].map((name) => {
      const section = el("section");
      section.dataset.table = name;
      return [name, section];
    }));
    this.element = el("article", { className: "run" }, this.head, this.notes, this.verdicts, this.tiles,
      el("p", { className: "hint", textContent: "Numbers beside the names are the greatest of the run, or those of the second under the pointer. Dotted lines are where stages begin." }),
      el("div", { className: "plots" }, ...this.plots.map((p) => p.element)), ...Object.values(this.tables));
    parent.append(this.element);
    this.run = run;
  }

  /** The upper ends of the axes that hold all runs, and the time that all have. */
  static tops(runs) {
    return { end: Math.max(1, ...runs.map((r) => r.seconds)), ...Object.fromEntries(charts.map((c) => [c.key, Math.max(...runs.map((r) => Plot.top(c, r)))])) };
  }

  update(run, tops = RunView.tops([run])) {
    this.run = run;
    const started = new Date(run.started);
    this.head.replaceChildren(el("h1", { textContent: run.scenario }),
      el("p", { className: "hint", textContent: `${started.toLocaleString()} · ${clock(run.seconds)} · engine ${run.engine} · weir ${run.version} · ${run.cpus} processors, shared with the sender` }),
      ...(run.look ? [el("p", { className: "look", textContent: run.look })] : []));
    this.notes.replaceChildren(...run.notes.map((n) => el("li", { textContent: n })));
    this.verdicts.replaceChildren(...run.thresholds.map((v) => el("span", { className: `verdict${v.holds ? "" : " broken"}`,
      textContent: `${v.holds ? "✓" : "✗"} ${v.text}: ${v.missing || `it was ${fmt(v.value, 2)} ${v.unit ?? ""}`.trim()}` })));
    const broken = run.thresholds.filter((v) => !v.holds).length;
    if (broken) this.verdicts.prepend(el("p", { textContent: `${broken} of ${run.thresholds.length} thresholds broken` }));
    this.#tiles(run);
    this.plots.forEach((p, i) => {
      const none = charts[i].series(run).length === 0 || unknown(run, charts[i].key);
      // Beside another run the place stays, so that the charts of both stand side by side.
      p.element.hidden = none && !(tops[charts[i].key] > 0);
      p.element.classList.toggle("none", none);
      if (!none) p.update(run, tops[charts[i].key], tops.end);
    });
    this.#tables(run);
  }

  #tiles(run) {
    const all = run.summaries[0] ?? {};
    const tile = (value, label) => el("div", { className: "card tile" }, el("b", { textContent: value }), el("span", { textContent: label }));
    const failed = all.requests ? (100 * (all.requests - all.ok)) / all.requests : 0;
    this.tiles.replaceChildren(tile(fmt(all.requests ?? 0), "requests"), tile(`${fmt(all.goodput)}/s`, "answered well"),
      tile(`${failed === 0 ? "0" : failed.toFixed(failed < 1 ? 2 : 1)} %`, "refused or failed"), tile(ms(good(all, all.latencies?.p50)), "p50"),
      tile(ms(good(all, all.latencies?.p95)), "p95"), tile(ms(good(all, all.latencies?.p99)), "p99"),
      tile(fmt(all.cold ?? 0), "waited for a start"));
  }

  #tables(run) {
    fill(this.tables.summaries, "Totals", "Latencies are those of good answers, corrected for coordinated omission; “seen” is what the sender itself saw.", [
      ["", (s) => s.name || "all", "text"], ["", (s) => s.kind, "text"], ["requests", (s) => s.requests], ["ok", (s) => s.ok],
      ["refused", (s) => s.refused], ["failed", (s) => s.failed], ["ok/s", (s) => fmt(s.goodput)], ["p50", (s) => ms(good(s, s.latencies.p50))],
      ["p90", (s) => ms(good(s, s.latencies.p90))], ["p95", (s) => ms(good(s, s.latencies.p95))], ["p99", (s) => ms(good(s, s.latencies.p99))], ["p99.9", (s) => ms(good(s, s.latencies.p999))], ["most", (s) => ms(good(s, s.latencies.max))],
      ["seen p95", (s) => ms(good(s, s.seen.p95))], ...(run.summaries.some((s) => s.refused) ? [
        ["refused p99", (s) => (s.refused ? ms(s.refusedP99) : "–")], ["without connecting", (s) => (s.refused ? ms(s.refusedAnswerP99) : "–")]] : []),
      ["connections", (s) => fmt(s.opened ?? 0)]], run.summaries);
    fill(this.tables.decisions, "Scaling decisions", "▲ and ▼ in the chart of replicas, where the pointer tells their numbers; red in panic mode.", [
      ["at", (d) => clock(d.t)], ["revision", (d) => d.revision, "text"], ["replicas", (d) => `${d.from} → ${d.wanted}`],
      ["stable", (d) => fmt(d.stable, 2)], ["panic window", (d) => fmt(d.panicConcurrency, 2)], ["target", (d) => fmt(d.target, 2)],
      ["panic", (d) => (d.panic ? "yes" : "no")], ["why", (d) => d.reason, "wide text"]], run.decisions);
    const failure = [["load", (f) => f.load, "text"], ["status", (f) => f.status || "–"], ["what", (f) => f.message, "wide text"],
      ["count", (f) => f.count], ["first", (f) => clock(f.first)], ["last", (f) => clock(f.last)]];
    fill(this.tables.failures, "Failures", "Answers that are no good ones; numbers in messages are written N.", failure, run.failures.filter((f) => f.status));
    fill(this.tables.exceptions, "Exceptions", "Requests without any answer.", failure, run.failures.filter((f) => !f.status));
    fill(this.tables.cold, "Cold starts", "Requests that waited for a replica to start: ● in the chart of replicas.", [
      ["at", (c) => clock(c.t)], ["revision", (c) => c.revision, "text"], ["latency", (c) => ms(c.latency)]], run.cold.slice(0, 50));
  }
}
