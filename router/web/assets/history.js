// What the live charts draw: per revision the measures of the last minutes, on one time axis.

/** How far back the charts reach, in seconds. */
export const span = 300;

/** The kinds of measures; each has one axis for all revisions. */
export const kinds = [
  { key: "replicas", title: "Replicas", measures: ["ready", "wanted"] },
  { key: "concurrency", title: "Concurrency", measures: ["concurrency"] },
  { key: "queue", title: "Queue", measures: ["queue"] },
  { key: "rps", title: "Requests/s", measures: ["rps"] },
];

const measures = kinds.flatMap((k) => k.measures);

/** Measures by revision. times is in seconds; a null is a gap. */
export class History {
  times = [];
  #series = new Map();

  /** Adds what the revisions [{name, ready, …}] do at a time in milliseconds. Revisions that are gone are forgotten. */
  add(ms, revisions) {
    const t = ms / 1000;
    if (t <= (this.times.at(-1) ?? -Infinity)) return;
    const old = this.times.findIndex((x) => x >= t - span - 5);
    const drop = old < 0 ? this.times.length : old;
    this.times.splice(0, drop);
    this.times.push(t);
    const names = new Set(revisions.map((r) => r.name));
    for (const name of this.#series.keys()) {
      if (!names.has(name)) this.#series.delete(name);
    }
    for (const r of revisions) {
      let own = this.#series.get(r.name);
      if (own) {
        for (const m of measures) own[m].splice(0, drop);
      } else {
        own = gaps(this.times.length - 1);
        this.#series.set(r.name, own);
      }
      for (const m of measures) own[m].push(r[m] ?? 0);
    }
  }

  /** Marks a gap: the stream was lost. */
  gap() {
    if (this.times.length === 0) return;
    this.times.push(this.times.at(-1) + 0.001);
    for (const own of this.#series.values()) {
      for (const m of measures) own[m].push(null);
    }
  }

  /** The data of one chart, as uPlot takes it. */
  data(revision, kind) {
    const own = this.#series.get(revision) ?? gaps(this.times.length);
    return [this.times, ...kind.measures.map((m) => own[m])];
  }

  /** The upper end of a kind's axis: the least round number that holds every revision's values. */
  top(kind) {
    let most = 0;
    for (const own of this.#series.values()) {
      for (const m of kind.measures) {
        for (const x of own[m]) most = Math.max(most, x ?? 0);
      }
    }
    return round(most);
  }
}

function gaps(n) {
  return Object.fromEntries(measures.map((m) => [m, new Array(n).fill(null)]));
}

function round(x) {
  if (x <= 2) return 2;
  const unit = 10 ** Math.floor(Math.log10(x));
  return [1, 2, 4, 6, 8, 10].map((f) => f * unit).find((top) => top >= x);
}
