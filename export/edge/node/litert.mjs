/**
 * LiteRT.js on Node. The package is made for browsers, where it loads its WebAssembly by a <script> tag and fetch(). On
 * Node its loader needs importScripts, require and __dirname, which an ES module lacks; this file provides them.
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import vm from "node:vm";

const require = createRequire(import.meta.url);
const folder = join(dirname(dirname(require.resolve("@litertjs/core"))), "wasm");
const LOADER = "litert_wasm_compat_internal"; // the build without relaxed SIMD, which Node 20 lacks

globalThis.self ??= globalThis;
Object.assign(globalThis, {
  require,
  __dirname: folder,
  importScripts: (file) => vm.runInThisContext(readFileSync(file, "utf8"), { filename: file }),
  Module: { wasmBinary: readFileSync(join(folder, `${LOADER}.wasm`)) },
});
const { loadAndCompile, loadLiteRt, Tensor } = await import("@litertjs/core");
await loadLiteRt(join(folder, `${LOADER}.js`));

/**
 * Load a text encoder's file; returns a function from ids to the embedding.
 * @param {Uint8Array} bytes
 * @returns {Promise<(ids: Int32Array) => Promise<Float32Array>>}
 */
export async function textEncoder(bytes) {
  const model = await loadAndCompile(bytes, { accelerator: "wasm" });
  return async (ids) => {
    const input = new Tensor(ids, [1, ids.length]);
    const [output] = await model.run(input);
    const embedding = Float32Array.from(output.toTypedArray());
    input.delete(); // LiteRT.js does not free tensors automatically
    output.delete();
    return embedding;
  };
}
