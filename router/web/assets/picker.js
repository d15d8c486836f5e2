// The choice of model and revision. It is kept in the address (#model=…&tag=…), so it can be linked and reloaded.

import { byId, make } from "./dom.js";

/** The two selects. Dispatches "change" when the choice is another one. */
export class Picker extends EventTarget {
  #models = [];
  #model = byId("model");
  #revision = byId("revision");

  constructor() {
    super();
    this.#model.addEventListener("change", () => {
      this.#fillRevisions("");
      this.#changed();
    });
    this.#revision.addEventListener("change", () => this.#changed());
    addEventListener("hashchange", () => {
      const { model, tag } = fromAddress();
      if (model !== this.model || tag !== this.tag) {
        this.#select(model, tag);
        this.#changed();
      }
    });
  }

  /** The model's name, empty if there is none. */
  get model() { return this.#models.length ? this.#model.value : ""; }

  /** The tag that was chosen, empty for "by traffic". */
  get tag() { return this.#models.length ? this.#revision.value : ""; }

  /** Whether what was chosen takes pictures; true as long as there is nothing to choose. */
  get images() {
    if (this.#models.length === 0) return true;
    const revisions = this.#revisions();
    if (this.tag) return revisions.some((r) => r.tags?.includes(this.tag) && r.images);
    const served = revisions.filter((r) => r.percent > 0);
    return (served.length ? served : revisions).some((r) => r.images);
  }

  /** The names of the revisions that may answer. */
  get targets() {
    return this.#revisions().filter((r) => (this.tag ? r.tags?.includes(this.tag) : r.percent > 0)).map((r) => r.name);
  }

  /** A tag of a revision, for people; empty if it has none. */
  tagOf(revision) {
    return this.#revisions().find((r) => r.name === revision)?.tags?.[0] ?? "";
  }

  /** Takes the models there are now and keeps the choice if it still exists. */
  set models(models) {
    const before = this.#models.length ? { model: this.model, tag: this.tag } : fromAddress();
    this.#models = models;
    this.#model.replaceChildren(...models.map((m) => make("option", { value: m.name, textContent: m.name })));
    this.#model.disabled = this.#revision.disabled = models.length === 0;
    if (models.length === 0) {
      this.#model.replaceChildren(make("option", { textContent: "none yet" }));
      this.#revision.replaceChildren(make("option", { textContent: "none yet" }));
    } else {
      this.#select(before.model, before.tag);
    }
    this.dispatchEvent(new Event("change"));
  }

  #select(model, tag) {
    const names = this.#models.map((m) => m.name);
    const prefer = this.#model.dataset.prefer;
    const pictures = this.#models.find((m) => m.revisions?.some((r) => r.images))?.name;
    this.#model.value = [model, prefer, pictures, names[0]].find((name) => names.includes(name));
    this.#fillRevisions(tag);
  }

  #revisions() {
    return this.#models.find((m) => m.name === this.model)?.revisions ?? [];
  }

  #fillRevisions(tag) {
    const revisions = this.#revisions();
    const shares = revisions.filter((r) => r.percent > 0).map((r) => `${r.tags?.[0] ?? r.name} ${r.percent} %`);
    const options = [make("option", { value: "", textContent: `By traffic${shares.length ? ` (${shares.join(", ")})` : ""}` })];
    for (const r of revisions) {
      for (const t of r.tags ?? []) {
        const about = [t, r.version ? `version ${r.version}` : "", r.name, r.ready ? "" : "not ready"].filter(Boolean);
        options.push(make("option", { value: t, textContent: about.join(" · ") }));
      }
    }
    this.#revision.replaceChildren(...options);
    if (revisions.some((r) => r.tags?.includes(tag))) this.#revision.value = tag;
  }

  #changed() {
    const address = new URLSearchParams({ model: this.model });
    if (this.tag) address.set("tag", this.tag);
    history.replaceState(null, "", `#${address}`);
    this.dispatchEvent(new Event("change"));
  }
}

function fromAddress() {
  const address = new URLSearchParams(location.hash.slice(1));
  return { model: address.get("model") ?? "", tag: address.get("tag") ?? "" };
}
