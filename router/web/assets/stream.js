// The stream of server-sent events behind the live view: it reconnects with back-off and says how it is.

// What says nothing for this long is lost, even if the connection seems to stand.
const silence = 15_000;
const firstWait = 1000;
const longestWait = 30_000;

/**
 * A stream of JSON messages. Dispatches CustomEvents "message" (the value) and "state": {state: "live" | "lost" |
 * "connecting", wait}, wait being the milliseconds until the next attempt.
 */
export class Stream extends EventTarget {
  #path;
  #source = null;
  #wait = firstWait;
  #next = 0;
  #watch = 0;
  #live = false;

  constructor(path) {
    super();
    this.#path = path;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !this.#live && !this.#source) this.connect();
    });
    addEventListener("online", () => { if (!this.#live) this.connect(); });
    // A page that is kept for the back button must not keep a connection.
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", (e) => { if (e.persisted) this.connect(); });
  }

  /** Connects now. */
  connect() {
    this.#close();
    this.#say("connecting");
    const source = new EventSource(this.#path);
    this.#source = source;
    source.addEventListener("message", (e) => {
      let value;
      try {
        value = JSON.parse(e.data);
      } catch {
        return;
      }
      this.#wait = firstWait;
      this.#listen();
      if (!this.#live) this.#say("live");
      this.dispatchEvent(new CustomEvent("message", { detail: value }));
    });
    // EventSource tries again by itself after some errors and never after others: here it is always done below.
    source.addEventListener("error", () => this.#lost());
    this.#listen();
  }

  #listen() {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#lost(), silence);
  }

  #lost() {
    this.#close();
    // Some chance, so that a restarted weir is not met by all its pages at once.
    const wait = this.#wait * (0.75 + Math.random() / 2);
    this.#wait = Math.min(longestWait, this.#wait * 2);
    this.#next = setTimeout(() => this.connect(), wait);
    this.#say("lost", wait);
  }

  #close() {
    clearTimeout(this.#next);
    clearTimeout(this.#watch);
    this.#source?.close();
    this.#source = null;
    this.#live = false;
  }

  #say(state, wait = 0) {
    this.#live = state === "live";
    this.dispatchEvent(new CustomEvent("state", { detail: { state, wait } }));
  }
}
