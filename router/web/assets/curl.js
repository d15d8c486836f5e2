// The curl line that asks what the page asked.

import { predictPath } from "./api.js";

const longestBody = 2000;

/**
 * The line for a request {model, tag, type, picture | text}: a picture from an address is piped, one from this machine
 * is named by its file name.
 */
export function curlLine({ model, tag, type, picture, text }) {
  const at = location.origin;
  const parts = [];
  let body;
  if (picture?.url) {
    parts.push(`curl -s ${quote(new URL(picture.url, at).href)} |`);
    body = "--data-binary @-";
  } else if (picture) {
    body = `--data-binary ${quote(`@${picture.name}`)}`;
  } else {
    const flat = compact(text);
    body = flat.length > longestBody ? "--data-binary @body.json" : `--data-binary ${quote(flat)}`;
  }
  const command = [`curl -H ${quote(`Content-Type: ${type}`)}`];
  if (tag) command.push(`-H ${quote(`X-Weir-Tag: ${tag}`)}`);
  command.push(body, quote(at + predictPath(model)));
  parts.push(command.join(" \\\n  "));
  return parts.join("\n");
}

function quote(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function compact(text) {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    return text;
  }
}
