/**
 * Search images by a text on the device: tokenizer, LiteRT and a dot product; no server, no TensorFlow.
 *
 *   node search.mjs text_encoder.int8.tflite GALLERY "a red boat on a quiet lake"
 *
 * GALLERY is a folder that ../make_gallery.py wrote: names.txt, and embeddings.f32 of the same images.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { filesInside, Tokenizer } from "../tokenizer.mjs";
import { textEncoder } from "./litert.mjs";

const [file, gallery, ...texts] = process.argv.slice(2);
if (!texts.length) {
  console.error('node search.mjs TEXT_ENCODER.tflite GALLERY "a text" ...');
  process.exit(2);
}
const bytes = new Uint8Array(readFileSync(file));
const files = filesInside(bytes);
const settings = JSON.parse(files.get("text_encoder.json"));
const about = JSON.parse(readFileSync(join(gallery, "gallery.json"), "utf8"));
if (about.contract !== settings.contract) {
  console.error(`${gallery} was made by another pair of encoders (contract ${about.contract.slice(0, 16)}, that of the text encoder is ${settings.contract.slice(0, 16)}): make the gallery again with the image encoder of the same run`);
  process.exit(1);
}
const tokenizer = new Tokenizer(files.get("tokenizer.txt"), files.get("vocabulary.txt"));
const encode = await textEncoder(bytes);
const names = readFileSync(join(gallery, "names.txt"), "utf8").split("\n").slice(0, -1);
const data = readFileSync(join(gallery, "embeddings.f32"));
const embeddings = new Float32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
const width = embeddings.length / names.length;

for (const text of texts) {
  const ids = tokenizer.encode(text);
  const known = ids.filter((id) => id !== 0).length;
  console.log(`${text}  (${known} known words)`);
  if (known === 0) continue; // the embedding would be meaningless
  const query = await encode(ids);
  const scores = names.map((name, i) => {
    let dot = 0;
    for (let k = 0; k < width; k++) dot += query[k] * embeddings[i * width + k];
    return { name, dot };
  });
  for (const { name, dot } of scores.sort((a, b) => b.dot - a.dot).slice(0, 5)) console.log(`  ${dot.toFixed(3)}  ${name}`);
}
