// Small helpers around the document: finding and making elements, copying text. Text is always set as text, never as
// HTML, so nothing a server answers can become markup.

/** The element with an id. */
export const byId = (id) => document.getElementById(id);

/**
 * A new element. Props are properties (className, textContent …), `data-…`, `aria-…` and `role` attributes, and `on`:
 * listeners by event. Children are nodes or strings.
 */
export function make(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name.includes("-") || name === "role") {
      node.setAttribute(name, value);
    } else {
      node[name] = value;
    }
  }
  node.append(...children);
  return node;
}

/** Sets text only if it differs: a screen reader is not told of what did not change. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Copies text and says so on the button for two seconds. */
export async function copy(text, button) {
  const done = await writeClipboard(text);
  const before = button.dataset.label ?? button.textContent;
  button.dataset.label = before;
  button.textContent = done ? "Copied" : "Not copied";
  clearTimeout(Number(button.dataset.timer));
  button.dataset.timer = setTimeout(() => { button.textContent = before; }, 2000);
}

async function writeClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Over plain HTTP from another machine there is no clipboard interface: the old way still works.
    const area = make("textarea", { value: text, className: "unseen", readOnly: true });
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return done;
  }
}
