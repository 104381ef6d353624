// The words of a text, each shaded by what it adds to the score of one item; unknown words struck through.

import { element } from "./dom.js";

/**
 * @param {Array<{text: string, spaced: boolean, change: number|null}>} words
 * @param {Set<string>} unknown words that training never saw, in lower case
 * @returns {Node[]}
 */
export function shaded(words, unknown = new Set()) {
  const largest = Math.max(0.02, ...words.map((word) => Math.abs(word.change ?? 0)));
  return words.flatMap((word) => {
    const isUnknown = unknown.has(plain(word.text));
    const mark = element("mark", {}, word.text);
    if (isUnknown) {
      mark.className = "unknown";
      mark.title = "training never saw this word; it is ignored";
    } else if (word.change !== null) {
      if (word.change > 0) mark.className = "against";
      mark.style.setProperty("--shade", (Math.abs(word.change) / largest).toFixed(2));
      const sign = word.change > 0 ? "+" : "−";
      mark.title = `score without this word: ${sign}${Math.abs(word.change).toFixed(3)}`;
    }
    return word.spaced ? [" ", mark] : [mark];
  });
}

/** A text as words without weights, until they are known. */
export const unshaded = (text) =>
  text
    .split(/\s+/u)
    .filter(Boolean)
    .map((word, i) => ({ text: word, spaced: i > 0, change: null }));

/** A word without the punctuation around it, in lower case, to compare it with unknown words. */
export const plain = (word) => word.toLowerCase().replace(/^[^\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}]+$/gu, "");
