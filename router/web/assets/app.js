// The page's start: it puts the parts together and runs a prediction whenever the picture, the model or the revision
// changes. What the parts do is theirs.

import { download, fetchPicture, listModels, listSamples, predict, signatures } from "./api.js";
import { exampleBody } from "./body.js";
import { curlLine } from "./curl.js";
import { byId, copy, make, setText } from "./dom.js";
import { prettyJSON } from "./format.js";
import { Live } from "./live.js";
import { Picker } from "./picker.js";
import { PictureInput, pictureOf, sampleCaption } from "./picture.js";
import { explain, showAnswer, showProblem, showWaiting } from "./result.js";
import { Tasks } from "./task.js";

const tasks = new Tasks();
const picker = new Picker();
const input = new PictureInput();
const live = new Live();

let picture = null;
let asked = ""; // the model, tag and kind of input that the page shows
let askedModel = "";
let loading = null; // the signal of the task that brings a picture

/** Runs work as the page's one task; a failure shows with a way to try again. */
async function run(work) {
  try {
    await tasks.run(work, () => showWaiting("Cancelled", "Nothing was changed."));
  } catch (err) {
    showProblem(err.name === "APIError" ? explain(err) : err.message, () => run(work));
  }
}

async function ask(request, signal, say) {
  const { model, tag } = request;
  const awake = picker.targets.some((name) => live.stateOf(name) === "Ready");
  say(awake ? "predicting…" : "waking the model…");
  setText(byId("curl"), curlLine(request));
  byId("curl-block").hidden = false;
  const body = request.picture ? request.picture.blob : request.text;
  const done = await predict({ model, tag, body, type: request.type }, signal);
  if (signal.aborted) return;
  showAnswer(done, tag || picker.tagOf(done.revision), !request.picture);
}

function askPicture(signal, say) {
  return ask({ model: picker.model, tag: picker.tag, type: picture.blob.type, picture }, signal, say);
}

function fileName(url) {
  return new URL(url).pathname.split("/").pop() || "picture";
}

function take(next) {
  picture = next;
  input.show(picture);
}

function predictPicture() {
  if (picture && picker.model) run(askPicture);
}

input.addEventListener("picture", (e) => {
  take(e.detail);
  predictPicture();
});

/** Brings a picture from elsewhere with load(signal), shows it and predicts it, as one task. */
function bring(what, load) {
  run(async (signal, say) => {
    say(what);
    loading = signal;
    try {
      const next = await load(signal);
      if (signal.aborted) return;
      take(next);
    } finally {
      if (loading === signal) loading = null;
    }
    if (picker.model && picker.images) await askPicture(signal, say);
  });
}

input.addEventListener("address", (e) => bring("fetching the picture…", async (signal) => {
  const url = e.detail;
  return pictureOf(await fetchPicture(url, signal), fileName(url), { url, caption: [new URL(url).host] });
}));

input.addEventListener("sample", (e) => bring("loading the sample…", async (signal) => {
  const sample = e.detail;
  return pictureOf(await download(sample.path, signal), sample.file, {
    url: sample.path,
    sample: sample.file,
    alt: sample.title,
    caption: sampleCaption(sample),
  });
}));

input.addEventListener("problem", (e) => {
  tasks.cancel();
  showProblem(e.detail);
});

picker.addEventListener("change", () => {
  const chosen = JSON.stringify([picker.model, picker.tag, picker.images]);
  if (chosen === asked) return;
  asked = chosen;
  const sameModel = picker.model === askedModel;
  askedModel = picker.model;
  // A picture on its way is predicted by what is chosen when it is there.
  const coming = loading !== null && picker.images;
  if (!coming) tasks.cancel();
  byId("image-input").hidden = !picker.images;
  byId("json-input").hidden = picker.images;
  // Another revision's answer takes the place of this one's when it is there: they can be compared.
  if (picker.images && sameModel && picture) {
    if (!coming) predictPicture();
    return;
  }
  byId("curl-block").hidden = true;
  if (picker.images) {
    showWaiting("The answer shows here", "Pick a sample or bring a picture of your own.");
    if (!coming) predictPicture();
  } else {
    showWaiting("The answer shows here", "This model takes numbers as JSON. An example body is a good start.");
  }
});

byId("json-input").addEventListener("submit", (e) => {
  e.preventDefault();
  const text = byId("json").value;
  try {
    JSON.parse(text);
  } catch (err) {
    showProblem(text.trim() ? `The body is no JSON: ${err.message}` : "There is no body yet: fill in an example, or write one.");
    byId("json").focus();
    return;
  }
  run((signal, say) => ask({ model: picker.model, tag: picker.tag, type: "application/json", text }, signal, say));
});

byId("json").addEventListener("keydown", (e) => {
  if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) byId("json-input").requestSubmit();
});

byId("json-example").addEventListener("click", () => run(async (signal, say) => {
  say("waking the model for its input shapes…");
  const body = exampleBody(await signatures(picker.model, picker.tag, signal));
  if (signal.aborted) return;
  byId("json").value = prettyJSON(body);
  byId("json").focus();
}));

byId("curl-copy").addEventListener("click", (e) => copy(byId("curl").textContent, e.currentTarget));

async function loadModels() {
  const note = byId("models-note");
  try {
    const models = await listModels();
    picker.models = models;
    note.hidden = models.length > 0;
    note.replaceChildren("No model is deployed yet. ", make("code", { textContent: "weir deploy NAME --model DIR" }), " deploys one.");
  } catch (err) {
    note.hidden = false;
    note.replaceChildren(`The models cannot be listed. ${explain(err)} `, make("button", { type: "button", textContent: "Try again", on: { click: loadModels } }));
  }
}

live.addEventListener("services", loadModels);
loadModels();
listSamples().then((samples) => { input.samples = samples; }, () => { input.samples = []; });
