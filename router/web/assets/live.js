// The live view: every model's revisions with their state, numbers and charts, as the stream tells them.

import { Chart, timeText } from "./charts.js";
import { byId, make, setText } from "./dom.js";
import { History, kinds } from "./history.js";
import { Stream } from "./stream.js";

/** The lower part of the page. Dispatches "services" when there may be other services, revisions or tags than before. */
export class Live extends EventTarget {
  #history = new History();
  #rows = new Map(); // by revision name
  #cards = new Map(); // by service name
  #states = new Map(); // a revision's newest state, by name
  #shape = "";
  #seen = false;
  #frame = 0;
  #lost = false;

  constructor() {
    super();
    const stream = new Stream("/home/live");
    stream.addEventListener("message", (e) => this.#take(e.detail));
    stream.addEventListener("state", (e) => this.#connection(e.detail));
    byId("live-retry").addEventListener("click", () => stream.connect());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      for (const row of this.#rows.values()) row.charts.forEach((c) => c.recolor());
    });
    stream.connect();
  }

  /** The newest state of a revision: Ready, Idle, Starting, Failed; undefined if not known. */
  stateOf(revision) { return this.#states.get(revision); }

  #connection({ state, wait }) {
    const view = byId("live");
    view.dataset.state = state;
    const text = { live: "Connected", connecting: this.#seen ? "Connecting again…" : "Connecting…",
      lost: `Lost the connection. Next try in ${Math.ceil(wait / 1000)} s.` }[state];
    setText(byId("live-state"), text);
    byId("live-retry").hidden = state !== "lost";
    if (state === "live" && this.#lost) {
      this.#lost = false;
      // Another weir may have come back, or the first list of models failed with the stream.
      this.dispatchEvent(new Event("services"));
    }
    if (state === "lost") {
      this.#lost = true;
      this.#history.gap();
      this.#states.clear();
    }
  }

  #take({ time, services }) {
    this.#seen = true;
    const models = (services ?? []).filter((s) => s.model);
    const revisions = models.flatMap((s) => s.revisions ?? []);
    this.#history.add(time, revisions);
    this.#states = new Map(revisions.map((r) => [r.name, r.state]));
    this.#arrange(models);
    this.#draw();
    const shape = JSON.stringify(models.map((s) => [s.name, (s.revisions ?? []).map((r) => [r.name, r.tags, r.percent, r.images, r.state === "Failed"])]));
    if (this.#shape && shape !== this.#shape) this.dispatchEvent(new Event("services"));
    this.#shape = shape;
  }

  // Makes the cards and rows that are missing, takes away those that are gone, and writes the texts.
  #arrange(models) {
    const services = byId("services");
    for (const [name, card] of this.#cards) {
      if (!models.some((m) => m.name === name)) {
        card.element.remove();
        this.#cards.delete(name);
      }
    }
    for (const [name, row] of this.#rows) {
      if (!models.some((m) => m.revisions?.some((r) => r.name === name))) {
        row.charts.forEach((c) => c.remove());
        row.element.remove();
        this.#rows.delete(name);
      }
    }
    services.classList.toggle("none", models.length === 0);
    if (models.length === 0) services.dataset.note = "No model is deployed. weir deploy NAME --model DIR deploys one.";
    for (const model of models) {
      const card = this.#cards.get(model.name) ?? this.#addCard(model.name);
      setText(card.message, model.ready ? "" : model.message || "not ready yet");
      for (const revision of model.revisions ?? []) {
        const row = this.#rows.get(revision.name) ?? this.#addRow(revision.name, card.element);
        describe(row, revision);
      }
    }
  }

  #addCard(name) {
    const message = make("p", { className: "message" });
    const element = make("article", { className: "card service", "aria-label": `Model ${name}` },
      make("div", { className: "service-head" }, make("h3", { textContent: name }), message));
    const after = [...this.#cards].filter(([other]) => other > name).sort(([a], [b]) => (a < b ? -1 : 1))[0];
    byId("services").insertBefore(element, after ? after[1].element : null);
    const card = { element, message };
    this.#cards.set(name, card);
    return card;
  }

  #addRow(name, card) {
    const charts = kinds.map((kind) => new Chart(kind, (ms) => setText(byId("live-at"), timeText(ms))));
    const row = {
      charts,
      tags: make("span", { className: "tags" }),
      chip: make("span", { className: "chip" }),
      about: make("p", { className: "about" }),
      message: make("p", { className: "message" }),
    };
    row.element = make("section", { className: "revision", "aria-label": `Revision ${name}` },
      make("div", { className: "who" },
        make("p", { className: "name" }, row.tags, make("span", { className: "revision-name", textContent: name })),
        row.chip, row.about, row.message),
      make("div", { className: "charts" }, ...charts.map((c) => c.element)));
    row.element.dataset.revision = name;
    card.append(row.element);
    this.#rows.set(name, row);
    return row;
  }

  // Draws with the next frame: once for many events, and not at all while the page is hidden.
  #draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      const tops = kinds.map((kind) => this.#history.top(kind));
      for (const [name, row] of this.#rows) {
        row.charts.forEach((chart, i) => chart.update(this.#history.data(name, kinds[i]), tops[i]));
      }
    });
  }
}

function describe(row, r) {
  setText(row.tags, (r.tags ?? []).join(", "));
  row.chip.dataset.state = r.state;
  setText(row.chip, r.panic ? `${r.state} · panic mode` : r.state);
  const about = [`${r.percent} % of traffic`];
  if (r.version) about.push(`version ${r.version}`);
  if (r.starting && r.state !== "Starting") about.push(`${r.starting} starting`);
  setText(row.about, about.join(" · "));
  setText(row.message, r.state === "Failed" ? r.message || "Its replicas do not get ready." : "");
}
