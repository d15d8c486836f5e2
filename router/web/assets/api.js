// What the page asks of weir over HTTP. Every function takes an AbortSignal and throws an APIError that can be shown.

/** A request that failed: status 0 if weir could not be reached, retryAfter in seconds or 0. */
export class APIError extends Error {
  constructor(status, message, retryAfter = 0) {
    super(message);
    this.name = "APIError";
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
  } catch (err) {
    if (err.name === "AbortError") throw err;
    throw new APIError(0, "weir does not answer.");
  }
  if (response.ok) return response;
  let message = `weir answered ${response.status} without saying why.`;
  try {
    const { error } = await response.json();
    if (typeof error === "string" && error) message = error;
  } catch {
    // No JSON: something between here and weir answered.
  }
  throw new APIError(response.status, message, Number(response.headers.get("Retry-After")) || 0);
}

async function json(response) {
  try {
    return await response.json();
  } catch (err) {
    if (err.name === "AbortError") throw err;
    throw new APIError(response.status, "The answer broke off or is no JSON.");
  }
}

const tagged = (tag) => (tag ? { "X-Weir-Tag": tag } : {});

/** The models and their revisions. */
export async function listModels(signal) {
  const { models } = await json(await call("/v1/models", { signal }));
  return models ?? [];
}

/** The sample pictures of this build; none if they cannot be had. */
export async function listSamples(signal) {
  const samples = await json(await call("/home/samples/samples.json", { signal }));
  return Array.isArray(samples) ? samples : [];
}

/** A file of this site as a Blob. */
export async function download(path, signal) {
  return (await call(path, { signal })).blob();
}

/** A picture from anywhere, fetched by the router under its limits. */
export async function fetchPicture(url, signal) {
  const response = await call("/home/fetch", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ url }),
    signal,
  });
  return response.blob();
}

/** The signatures of a model, as TensorFlow Serving gives them: {name: {inputs, outputs}}. */
export async function signatures(model, tag, signal) {
  const path = `/v1/models/${encodeURIComponent(model)}/metadata`;
  const answer = await json(await call(path, { headers: tagged(tag), signal }));
  return answer?.metadata?.signature_def?.signature_def ?? {};
}

/**
 * One prediction. Returns {answer, ms, queueMs, revision, cold}: ms from asking to the whole answer, queueMs the part
 * of it spent waiting for a replica, or null if weir did not say.
 */
export async function predict({ model, tag, body, type }, signal) {
  const start = performance.now();
  const response = await call(predictPath(model), {
    method: "POST",
    headers: { "Content-Type": type, ...tagged(tag) },
    body,
    signal,
  });
  const answer = await json(response);
  const queue = /(?:^|,)\s*queue\s*;[^,]*\bdur=([\d.]+)/.exec(response.headers.get("Server-Timing") ?? "");
  return {
    answer,
    ms: performance.now() - start,
    queueMs: queue ? Number(queue[1]) : null,
    revision: response.headers.get("X-Weir-Revision") ?? "",
    cold: response.headers.get("X-Weir-Cold-Start") === "true",
  };
}

/** The path that a prediction is posted to. */
export const predictPath = (model) => `/v1/models/${encodeURIComponent(model)}:predict`;
