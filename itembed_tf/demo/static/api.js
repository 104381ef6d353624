// Requests to the server that the page came from; there is no other.

/** The server refused or could not answer; the message is for the user. */
export class Refused extends Error {}

/** The server does not answer at all. */
export class ServerGone extends Error {}

async function answer(request) {
  let response;
  try {
    response = await request;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerGone("the server does not answer");
  }
  let content;
  try {
    content = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerGone("the server's answer ended early");
  }
  if (!response.ok) throw new Refused(content.error ?? `error ${response.status}`);
  return content;
}

/** GET of a JSON answer; `signal` aborts it. */
export const get = (path, parameters = new URLSearchParams(), signal = undefined) =>
  answer(fetch(`${path}?${parameters}`, { signal }));

/** POST of JSON, with a JSON answer. */
export const post = (path, parameters, body) =>
  answer(
    fetch(`${path}?${parameters}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    }),
  );

/** Sends an image to search by; the answer has its key. */
export const sendImage = (file) => answer(fetch("/api/query-image", { method: "POST", body: file }));

/** The parameters of a request to one of the indexes. */
export function of(index, parameters = undefined) {
  const all = new URLSearchParams(parameters);
  all.set("index", index);
  return all;
}

export const thumbnailURL = (index, key) => `/api/thumbnail/${key}?index=${index}`;
export const imageURL = (index, key) => `/api/image/${key}?index=${index}`;
export const queryImageURL = (key) => `/api/query-image/${key}`;
