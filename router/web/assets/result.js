// The right half of the page: the answer as bars, as a vector or as JSON, the facts beside it, and what went wrong.

import { byId, copy, make } from "./dom.js";
import { duration, percent, prettyJSON } from "./format.js";
import { vectorView } from "./vector.js";

const shownClasses = 5;
const shownCharacters = 100_000;

/** Shows the answer of a prediction, in the way that fits what it is. */
export function showAnswer({ answer, ms, queueMs, revision, cold }, tag, asJSON) {
  clear();
  const first = answer?.predictions?.[0];
  const views = [];
  if (Array.isArray(first?.labels) && Array.isArray(first?.scores)) {
    views.push(bars(first.labels.slice(0, shownClasses), first.scores));
  } else {
    const vector = vectorOf(first);
    if (vector && looksLikeShares(vector)) {
      views.push(bars(...best(vector)));
    } else if (vector) {
      views.push(vectorView(vector));
    } else if (!asJSON) {
      views.push(json(answer));
    }
  }
  if (asJSON) views.push(json(answer));
  byId("result").replaceChildren(...views);
  showFacts({ ms, queueMs, revision, cold, tag });
}

/** Shows what went wrong and, if it makes sense, a button that tries again. */
export function showProblem(message, retry) {
  clear();
  const box = byId("problem");
  box.replaceChildren(make("p", {}, make("strong", { textContent: "That did not work. " }), sentence(message)));
  if (retry) box.append(make("button", { type: "button", textContent: "Try again", on: { click: retry } }));
  box.hidden = false;
}

/** Takes away the last answer and shows a line in its place. */
export function showWaiting(title, text) {
  clear();
  byId("result").replaceChildren(make("div", { className: "waiting" },
    make("p", {}, make("strong", { textContent: title })), make("p", { textContent: text })));
}

/** What an APIError means for the person who sees it. */
export function explain(err) {
  const wait = err.retryAfter ? ` Try again in ${err.retryAfter} s.` : "";
  switch (err.status) {
    case 0: return "This page cannot reach weir. Is it still running?";
    case 413: return `That is too large. ${sentence(err.message)}`;
    case 429:
    case 503: return `The model is busy or not ready. ${sentence(err.message)}${wait}`;
    case 504: return `It took too long. ${sentence(err.message)}`;
    default: return err.message || "The page met an error of its own.";
  }
}

function sentence(text) {
  const t = text.trim();
  return t && (t[0].toUpperCase() + t.slice(1) + (/[.!?]$/.test(t) ? "" : "."));
}

function clear() {
  byId("problem").hidden = true;
  byId("problem").replaceChildren();
  byId("facts").hidden = true;
  byId("result").replaceChildren();
}

function bars(labels, scores) {
  const list = make("ol", { className: "bars" });
  labels.forEach((label, i) => {
    const share = Number(scores[i]);
    const bar = make("span", { className: "bar", "aria-hidden": "true" });
    bar.style.setProperty("--share", String(Math.min(1, Math.max(0, share))));
    list.append(make("li", {},
      make("span", { className: "label", textContent: label }),
      make("span", { className: "share", textContent: percent(share) }),
      make("span", { className: "track" }, bar)));
  });
  return list;
}

// A single list of numbers, or an object that holds nothing but one.
function vectorOf(first) {
  const values = first && !Array.isArray(first) && typeof first === "object" ? Object.values(first) : [first];
  const [v] = values;
  return values.length === 1 && Array.isArray(v) && v.length > 2 && v.every((x) => typeof x === "number") ? v : null;
}

// A few numbers that add up to one are the probabilities of classes without names.
function looksLikeShares(v) {
  const sum = v.reduce((a, b) => a + b, 0);
  return v.length <= 100 && v.every((x) => x >= 0 && x <= 1) && Math.abs(sum - 1) < 1e-3;
}

function best(v) {
  const order = v.map((_, i) => i).sort((a, b) => v[b] - v[a]).slice(0, shownClasses);
  return [order.map((i) => `Class ${i}`), order.map((i) => v[i])];
}

function json(answer) {
  const text = prettyJSON(answer);
  const cut = text.length > shownCharacters ? `${text.slice(0, shownCharacters)}\n…` : text;
  const button = make("button", { type: "button", className: "quiet", textContent: "Copy" });
  button.addEventListener("click", () => copy(text, button));
  return make("div", { className: "json" },
    make("div", { className: "row" }, make("h2", { className: "small", textContent: "Answer" }), button),
    make("pre", { tabIndex: 0, "aria-label": "Answer as JSON", textContent: cut }));
}

function showFacts({ ms, queueMs, revision, cold, tag }) {
  const fact = (name, value, more, className = "") => make("div", { className },
    make("dt", { textContent: name }), make("dd", { textContent: value }), ...(more ? [make("dd", { className: "more", textContent: more })] : []));
  byId("facts").replaceChildren(
    fact("Latency", duration(ms), queueMs >= 1 ? `${duration(queueMs)} of it in the queue` : ""),
    fact("Revision", revision || "not said", tag ? `tag ${tag}` : ""),
    fact("Start", cold ? "Cold start" : "Warm", cold ? "a replica was started for this" : "a replica was running", cold ? "cold" : ""),
  );
  byId("facts").hidden = false;
}
