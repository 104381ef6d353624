/**
 * Search images by a text in the browser: tokenizer, LiteRT.js and a dot product; nothing is sent anywhere.
 *
 * The files beside this one are written by make_page.py. The query is kept in the address, as #q=a+red+boat.
 */

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";
import { filesInside, Tokenizer } from "./tokenizer.mjs";

const SHOWN = 48; // hits on the page
const field = document.querySelector("#query");
const status = document.querySelector("#status");
const results = document.querySelector("#results");

async function bytesOf(name) {
  const answer = await fetch(`./${name}`);
  if (!answer.ok) throw new Error(`${name} is missing (HTTP ${answer.status}); write the folder again with make_page.py`);
  return new Uint8Array(await answer.arrayBuffer());
}

async function load() {
  const [model, gallery, names, rows] = await Promise.all(
    ["text_encoder.tflite", "gallery.json", "names.txt", "embeddings.f32"].map(bytesOf),
  );
  await loadLiteRt("./litert/wasm/");
  const text = (bytes) => new TextDecoder().decode(bytes);
  const files = filesInside(model);
  const about = JSON.parse(text(gallery));
  if (about.contract !== JSON.parse(files.get("text_encoder.json")).contract) {
    throw new Error("the gallery was made by another pair of encoders: make it again with the image encoder of the same run");
  }
  const compiled = await loadAndCompile(model, { accelerator: "wasm" });
  return {
    tokenizer: new Tokenizer(files.get("tokenizer.txt"), files.get("vocabulary.txt")),
    names: text(names).split("\n").slice(0, -1),
    thumbnails: about.thumbnails,
    rows: new Float32Array(rows.buffer),
    encode: async (ids) => {
      const input = new Tensor(ids, [1, ids.length]);
      const [output] = await compiled.run(input);
      const embedding = Float32Array.from(output.toTypedArray());
      input.delete(); // LiteRT.js does not free tensors automatically
      output.delete();
      return embedding;
    },
  };
}

function nearest({ rows, names }, query) {
  const scores = new Float32Array(names.length);
  for (let i = 0, at = 0; i < names.length; i++) {
    let dot = 0;
    for (let k = 0; k < query.length; k++) dot += query[k] * rows[at++];
    scores[i] = dot;
  }
  const order = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]);
  return order.slice(0, SHOWN).map((item) => ({ item, score: scores[item] }));
}

function tile({ names, thumbnails }, { item, score }) {
  const entry = document.createElement("li");
  const line = document.createElement("p");
  for (const content of [names[item], score.toFixed(2)]) line.append(Object.assign(document.createElement("span"), { textContent: content }));
  if (thumbnails) entry.append(Object.assign(new Image(), { src: `./thumbnails/${item}.jpg`, alt: names[item], loading: "lazy" }));
  entry.append(line);
  return entry;
}

async function search(page) {
  const text = field.value.trim();
  history.replaceState(null, "", text ? `#${new URLSearchParams({ q: text })}` : location.pathname + location.search);
  const words = page.tokenizer.words(text);
  const unknown = words.filter((word) => !page.tokenizer.ids.has(word));
  if (words.length === unknown.length) { // the embedding would be meaningless
    status.textContent = words.length ? `Unknown: ${unknown.join(", ")}. Use other words.` : `${page.names.length.toLocaleString()} images`;
    results.replaceChildren();
    return;
  }
  const started = performance.now();
  const hits = nearest(page, await page.encode(page.tokenizer.encode(text)));
  if (text !== field.value.trim()) return; // another key was pressed meanwhile
  const taken = performance.now() - started;
  results.replaceChildren(...hits.map((hit) => tile(page, hit)));
  status.textContent = `${page.names.length.toLocaleString()} images, ${taken.toFixed(0)} ms` + (unknown.length ? `. Unknown words: ${unknown.join(", ")}` : "");
}

function fail(error) {
  status.textContent = `Error: ${error.message}`;
  status.className = "problem";
}

load().then((page) => {
  const update = () => search(page).catch(fail);
  const fromAddress = () => { field.value = new URLSearchParams(location.hash.slice(1)).get("q") ?? ""; update(); };
  field.disabled = false;
  field.placeholder = "Describe an image";
  field.focus();
  field.addEventListener("input", update);
  addEventListener("hashchange", fromAddress);
  fromAddress();
}, fail);
