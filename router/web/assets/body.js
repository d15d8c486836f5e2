// An example JSON body for a model, made from its input shapes.

// More numbers than this are no example to read or edit.
const mostNumbers = 20_000;

/** The text of an example body for a signature_def as weir gives it. Throws an Error that can be shown. */
export function exampleBody(signatures) {
  const names = Object.keys(signatures);
  const name = names.includes("serving_default") ? "serving_default" : names[0];
  const inputs = Object.entries(signatures[name]?.inputs ?? {});
  if (inputs.length === 0) throw new Error("The model does not say what it takes.");
  const rows = inputs.every(([, spec]) => dims(spec)[0] === -1);
  const values = inputs.map(([input, spec]) => {
    const shape = dims(spec).map((d, i) => (d > 0 ? d : i === 0 ? 1 : 2));
    if (shape.reduce((a, b) => a * b, 1) > mostNumbers) {
      throw new Error(`The input “${input}” has shape ${dims(spec).join(" × ")}: too many numbers to write by hand.`);
    }
    return [input, fill(rows ? shape.slice(1) : shape, element(spec.dtype))];
  });
  const value = values.length === 1 ? values[0][1] : Object.fromEntries(values);
  const body = rows ? { instances: [value] } : { inputs: value };
  return name === "serving_default" ? body : { signature_name: name, ...body };
}

function dims(spec) {
  return (spec.tensor_shape?.dim ?? []).map((d) => Number(d.size));
}

// A value for a place: at is the index in each dimension. Two dimensions or more get a ring, so that what looks at
// pictures has something to see.
function element(dtype) {
  switch (dtype) {
    case "DT_STRING": return () => "text";
    case "DT_BOOL": return (at) => at.reduce((a, b) => a + b, 0) % 2 === 0;
    case "DT_FLOAT":
    case "DT_DOUBLE":
    case "DT_HALF":
    case "DT_BFLOAT16": return (at, shape) => Number(ring(at, shape).toFixed(2));
    default: return (at, shape) => Math.round(ring(at, shape) * 10);
  }
}

function ring(at, shape) {
  if (at.length < 2) return ((at[0] ?? 0) % 10) / 10;
  const from = (i) => (at[i] - (shape[i] - 1) / 2) / (shape[i] / 2);
  return Math.max(0, 1 - Math.abs(Math.hypot(from(0), from(1) * 1.3) - 0.7) * 2.5);
}

function fill(shape, value, whole = shape, at = []) {
  if (shape.length === 0) return value(at, whole);
  return Array.from({ length: shape[0] }, (_, i) => fill(shape.slice(1), value, whole, [...at, i]));
}
