/**
 * Search pictures by a sentence on the device: tokeniser, LiteRT and a dot product; no server, no TensorFlow.
 *
 *   node search.mjs text_encoder.int8.tflite GALLERY "a red boat on a quiet lake"
 *
 * GALLERY is a folder that ../make_gallery.py wrote: names.txt, and embeddings.f32 of the same pictures.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { filesInside, Tokenizer } from "../tokenizer.mjs";
import { textEncoder } from "./litert.mjs";

const [file, gallery, ...sentences] = process.argv.slice(2);
if (!sentences.length) {
  console.error('node search.mjs TEXT_ENCODER.tflite GALLERY "a sentence" ...');
  process.exit(2);
}
const bytes = new Uint8Array(readFileSync(file));
const files = filesInside(bytes);
const settings = JSON.parse(files.get("text_encoder.json"));
const about = JSON.parse(readFileSync(join(gallery, "gallery.json"), "utf8"));
if (about.contract !== settings.contract) {
  console.error(`${gallery} was made by another pair of encoders (contract ${about.contract.slice(0, 16)}, the text encoder's is ${settings.contract.slice(0, 16)}): their embeddings cannot be compared`);
  process.exit(1);
}
const tokenizer = new Tokenizer(files.get("tokenizer.txt"), files.get("vocabulary.txt"));
const encode = await textEncoder(bytes);
const names = readFileSync(join(gallery, "names.txt"), "utf8").split("\n").slice(0, -1);
const data = readFileSync(join(gallery, "embeddings.f32"));
const pictures = new Float32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
const width = pictures.length / names.length;

for (const sentence of sentences) {
  const ids = tokenizer.encode(sentence);
  const known = ids.filter((id) => id !== 0).length;
  console.log(`${sentence}  (${known} known words)`);
  if (known === 0) continue; // the embedding would say nothing about the sentence
  const query = await encode(ids);
  const scores = names.map((name, i) => {
    let dot = 0;
    for (let k = 0; k < width; k++) dot += query[k] * pictures[i * width + k];
    return { name, dot };
  });
  for (const { name, dot } of scores.sort((a, b) => b.dot - a.dot).slice(0, 5)) console.log(`  ${dot.toFixed(3)}  ${name}`);
}
