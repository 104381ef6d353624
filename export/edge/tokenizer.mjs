/**
 * Tokenizer of an exported text encoder: a text to ids, for browsers and Node, without dependencies.
 *
 *   const files = filesInside(bytesOfTheTfliteFile);   // or fetch tokenizer.txt and vocabulary.txt
 *   const tokenizer = new Tokenizer(files.get("tokenizer.txt"), files.get("vocabulary.txt"));
 *   tokenizer.encode("a dog runs");                    // Int32Array of the model's length
 */

const FIRST_LINE = "itembed_tf tokenizer 1";

export class Tokenizer {
  /**
   * @param {string} rules content of tokenizer.txt
   * @param {string} vocabulary content of vocabulary.txt
   */
  constructor(rules, vocabulary) {
    const [first, ...lines] = rules.split("\n").filter((line) => line !== "");
    if (first !== FIRST_LINE) {
      throw new Error(`tokenizer.txt starts with "${first}", this file supports "${FIRST_LINE}"; use the tokenizer.mjs of the itembed_tf version that exported it`);
    }
    this.settings = {};
    this.tables = { before: new Runs(), after: new Runs() };
    this.spaced = [];
    for (const line of lines) {
      const [key, ...values] = line.split(" ");
      if (key in this.tables) {
        this.tables[key].add(values.slice(1), values[0]);
      } else if (key === "spaced") {
        const bar = values.indexOf("|");
        this.spaced.push({ head: new Runs(values.slice(0, bar)), tail: new Runs(values.slice(bar + 1)) });
      } else {
        this.settings[key] = values[0];
      }
    }
    this.length = Number(this.settings.length);
    this.longest = Number(this.settings.longest);
    this.ids = new Map(vocabulary.split("\n").slice(0, -1).map((word, i) => [word, i + 1]));
  }

  /**
   * All words of a text, known or not.
   * @param {string | Uint8Array} text bytes are UTF-8; invalid bytes separate words
   * @returns {string[]}
   */
  words(text) {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    let characters = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(0, this.longest));
    if (this.spaced.length) characters = translate(characters, this.tables.before).normalize("NFKC");
    characters = translate(characters, this.tables.after);
    if (this.spaced.length) characters = this.#space(characters.normalize("NFC"));
    return characters.split(" ").filter((word) => word !== "");
  }

  /**
   * The model's input: unknown words removed, then truncated to `length` or padded with 0 on the right.
   * @param {string | Uint8Array} text
   * @returns {Int32Array}
   */
  encode(text) {
    const known = this.words(text).filter((word) => this.ids.has(word)).map((word) => this.ids.get(word));
    const row = new Int32Array(this.length);
    row.set(known.slice(0, this.length));
    return row;
  }

  /** Put spaces around the words of scripts without spaces. */
  #space(text) {
    const all = Array.from(text, (character) => character.codePointAt(0));
    const out = [];
    for (let i = 0; i < all.length; ) {
      const rule = this.spaced.find(({ head }) => head.find(all[i]));
      let end = i + 1;
      while (rule && end < all.length && rule.tail.find(all[end])) end++;
      const run = String.fromCodePoint(...all.slice(i, end));
      out.push(rule ? ` ${run} ` : run);
      i = end;
    }
    return out.join("");
  }
}

/**
 * The files inside a .tflite file, which ends with a ZIP archive of uncompressed entries.
 * @param {Uint8Array} bytes
 * @returns {Map<string, string>} name -> content
 */
export function filesInside(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.byteLength - 22; // the archive has no comment, so its last record starts here
  if (end < 0 || view.getUint32(end, true) !== 0x06054b50) throw new Error("no files inside; write it with: itembed export RUN OUT --to litert");
  const files = new Map();
  let entry = view.getUint32(end + 16, true);
  for (let i = view.getUint16(end + 10, true); i > 0; i--) {
    const size = view.getUint32(entry + 24, true);
    const nameLength = view.getUint16(entry + 28, true);
    const local = view.getUint32(entry + 42, true);
    const name = new TextDecoder().decode(bytes.subarray(entry + 46, entry + 46 + nameLength));
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    files.set(name, new TextDecoder().decode(bytes.subarray(start, start + size)));
    entry += 46 + nameLength + view.getUint16(entry + 30, true) + view.getUint16(entry + 32, true);
  }
  return files;
}

/** Ranges of code points, each with its action. */
class Runs {
  constructor(ranges = []) {
    this.runs = [];
    this.add(ranges, "");
  }

  add(ranges, action) {
    for (const range of ranges) {
      const [first, last = first] = range.split("-").map((code) => parseInt(code, 16));
      this.runs.push({ first, last, action });
    }
    this.sorted = false;
  }

  /** The range that contains a code point, or undefined. */
  find(code) {
    if (!this.sorted) this.runs.sort((a, b) => a.first - b.first);
    this.sorted = true;
    let low = 0;
    let high = this.runs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.runs[middle].first <= code) low = middle + 1;
      else high = middle;
    }
    const run = this.runs[low - 1];
    return run !== undefined && code <= run.last ? run : undefined;
  }
}

function translate(text, table) {
  let out = "";
  for (const character of text) {
    const code = character.codePointAt(0);
    const action = table.find(code)?.action;
    if (action === undefined) out += character;
    else if (action === "part") out += " ";
    else if (action[0] === "=") out += String.fromCodePoint(parseInt(action.slice(1), 16));
    else if (action !== "drop") out += String.fromCodePoint(code + Number(action));
  }
  return out;
}
