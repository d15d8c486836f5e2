// Numbers and JSON as people read them.

/** 0.4213 -> "42.1 %". */
export function percent(share) {
  const p = share * 100;
  return `${p.toFixed(p > 0 && p < 9.95 ? 2 : 1)} %`;
}

/** Milliseconds with at most three digits that matter: "8.4 ms", "42 ms", "1.24 s". */
export function duration(ms) {
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
}

/** A rate or a mean: one decimal below 100, none above; whole numbers as they are. */
export function amount(x) {
  if (x == null) return "–";
  if (Number.isInteger(x) || x >= 100) return String(Math.round(x));
  return x.toFixed(1);
}

/** The time of day, to the second. */
export const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });

/** JSON over as many lines as it needs: what fits into a line stays on it, lists of scalars fill lines. */
export function prettyJSON(value, width = 76, indent = "") {
  const flat = JSON.stringify(value);
  if (value === null || typeof value !== "object" || indent.length + flat.length <= width) return spaced(value);
  const inner = indent + "  ";
  if (!Array.isArray(value)) {
    const lines = Object.entries(value).map(([k, v]) => `${inner}${JSON.stringify(k)}: ${prettyJSON(v, width, inner)}`);
    return `{\n${lines.join(",\n")}\n${indent}}`;
  }
  if (value.every((v) => v === null || typeof v !== "object")) {
    return `[\n${filled(value.map((v) => JSON.stringify(v)), width, inner)}\n${indent}]`;
  }
  return `[\n${value.map((v) => inner + prettyJSON(v, width, inner)).join(",\n")}\n${indent}]`;
}

function spaced(value) {
  if (Array.isArray(value)) return `[${value.map(spaced).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([k, v]) => `${JSON.stringify(k)}: ${spaced(v)}`).join(", ")}}`;
}

function filled(words, width, indent) {
  const lines = [];
  let line = indent;
  words.forEach((word, i) => {
    const text = i < words.length - 1 ? `${word},` : word;
    if (line.length + text.length + 1 > width && line.trim()) {
      lines.push(line);
      line = indent;
    }
    line += line.trim() ? ` ${text}` : text;
  });
  lines.push(line);
  return lines.join("\n");
}
