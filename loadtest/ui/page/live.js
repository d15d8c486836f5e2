// The live page: it asks once a second for what is new, draws it as the report does, and has the run's controls.

const byId = (id) => document.getElementById(id);
const every = 1000;

let view = null;
let run = null;
let number = 0;
let timer = 0;
let problem = ""; // of the run
let refusal = ""; // of what was asked last

/** Asks for the rows after those that are here; of another run for all of it. */
async function ask() {
  clearTimeout(timer);
  try {
    const response = await fetch(`api/run?number=${number}&since=${run?.rows.length ?? 0}`);
    if (!response.ok) throw new Error(`${response.status}`);
    show(await response.json());
  } catch {
    state("lost", "Lost the connection to weir load");
  }
  timer = setTimeout(ask, every);
}

function show(answer) {
  if (answer.run) {
    const same = answer.number === number && run;
    run = { ...answer.run, rows: same ? [...run.rows, ...answer.run.rows] : answer.run.rows };
    if (!same) {
      number = answer.number;
      byId("runs").replaceChildren();
      view = new RunView(byId("runs"), run);
      byId("loads").replaceChildren();
    }
    view.update(run);
  }
  const stages = answer.states.map((s) => s.stage).filter(Boolean).join(", ");
  if (answer.running) state("running", `Running${stages ? `: ${stages}` : ""}`);
  else state("ended", answer.report ? `Ended. Report: ${answer.report}` : "Ended");
  byId("start").disabled = answer.running;
  byId("stop").disabled = !answer.running;
  problem = answer.problem ?? "";
  complain();
  controls(answer.running ? answer.states : []);
}

function state(name, text) {
  const node = byId("state");
  node.dataset.state = name;
  if (node.textContent !== text) node.textContent = text;
}

/** A field for the users, or the rate, of each load. What a person types is not overwritten. */
function controls(states) {
  const form = byId("loads");
  byId("holds").hidden = states.length === 0;
  if (form.children.length !== states.length) {
    form.replaceChildren(...states.map((s, i) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "number", min: "0", step: "any", name: `load-${i}` });
      const apply = Object.assign(document.createElement("button"), { type: "button", textContent: "Change" });
      const caption = document.createElement("span");
      apply.addEventListener("click", () => change(i, input));
      input.addEventListener("keydown", (e) => { if (e.key === "Enter") { e.preventDefault(); change(i, input); } });
      input.addEventListener("input", () => { input.dataset.typed = "true"; });
      label.append(caption, input, apply);
      return label;
    }));
  }
  states.forEach((s, i) => {
    const [caption, input] = form.children[i].children;
    caption.textContent = `${s.load}: ${s.closed ? "users" : "requests/s"}${s.held ? " (changed)" : ""}`;
    input.dataset.closed = s.closed;
    if (!input.dataset.typed && document.activeElement !== input) input.value = s.closed ? s.users : Math.round(s.rate * 10) / 10;
  });
}

async function change(load, input) {
  const value = input.valueAsNumber;
  if (Number.isNaN(value)) return complain("expected a number");
  delete input.dataset.typed;
  await post("api/set", input.dataset.closed === "true" ? { load, users: Math.round(value) } : { load, rate: value });
}

async function post(path, body = {}) {
  const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  complain(response.ok ? "" : (await response.json()).error);
  if (response.ok) ask();
}

/** Shows what is wrong: with what was asked last, until something else is asked, or else with the run. */
function complain(text = refusal) {
  refusal = text;
  byId("problem").textContent = refusal || problem;
}

byId("start").addEventListener("click", () => { byId("start").disabled = true; post("api/start"); });
byId("stop").addEventListener("click", () => { byId("stop").disabled = true; post("api/stop"); });
byId("loads").addEventListener("submit", (e) => e.preventDefault());
ask();
