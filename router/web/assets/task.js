// The one thing the page does at a time: it shows progress after a moment, ends on Esc, and a new one replaces it.

import { byId, setText } from "./dom.js";

// What takes less time than this shows no progress: it would only flicker.
const progressAfter = 300;

/** Runs tasks one at a time. */
export class Tasks {
  #current = null;

  constructor() {
    byId("cancel").addEventListener("click", () => this.cancel());
    document.addEventListener("keydown", (e) => {
      if (e.key === "Escape" && this.#current) {
        e.preventDefault();
        this.cancel();
      }
    });
  }

  /**
   * Runs work(signal, say), where say(text) names what is being done. Returns its value, or undefined if it was
   * cancelled or replaced; onCancel is called if the user cancelled it. Errors of work are thrown.
   */
  async run(work, onCancel = () => {}) {
    this.#end();
    const task = { abort: new AbortController(), text: "", timer: 0, onCancel };
    this.#current = task;
    task.timer = setTimeout(() => this.#show(task), progressAfter);
    const say = (text) => {
      task.text = text;
      if (this.#current === task && !byId("progress").hidden) this.#show(task);
    };
    try {
      const value = await work(task.abort.signal, say);
      return this.#current === task ? value : undefined;
    } catch (err) {
      if (this.#current !== task || err.name === "AbortError") return undefined;
      throw err;
    } finally {
      if (this.#current === task) this.#end();
    }
  }

  /** Ends the running task, for the user. */
  cancel() {
    const task = this.#current;
    if (!task) return;
    this.#end();
    task.onCancel();
  }

  #show(task) {
    setText(byId("progress-text"), task.text);
    byId("progress").hidden = false;
    document.body.classList.add("busy");
  }

  #end() {
    const task = this.#current;
    this.#current = null;
    if (!task) return;
    clearTimeout(task.timer);
    task.abort.abort();
    byId("progress").hidden = true;
    document.body.classList.remove("busy");
  }
}
