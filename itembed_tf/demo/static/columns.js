// One index: its name if there are several, the words of the query, the hits, further hits as the page is scrolled.

import { element, count, plural } from "./dom.js";
import { get, of, Refused } from "./api.js";
import { Grid } from "./grid.js";
import { isStart, searchParameters, splitQuery, FILTERS } from "./state.js";
import { plain, shaded, unshaded } from "./words.js";

const PAGE = 60; // hits of one request
const MOST = 600; // hits that are loaded at once when an earlier view is restored
const TILE = 46_000; // square pixels of a tile with its text, at least
const PAUSE = 300; // ms without a further letter
const VERY_SLOW = 1500; // ms after which it says why
const SLOW = 250; // ms after which a search shows that it is running
const AHEAD = "1200px"; // how far below the window further hits are loaded

export class Column {
  /**
   * @param {number} index of the server's indexes
   * @param {object} summary of the index
   * @param {boolean} alone whether it is the only index
   * @param {object} actions of its grid, and gone(), again(changes), point(key, column)
   */
  constructor(index, summary, alone, actions) {
    Object.assign(this, { index, summary, actions, answer: null, weighed: new Map(), top: null });
    this.grid = new Grid(index, { ...actions, hover: (key) => this.#hover(key) });
    this.words = element("p.words", { title: "Each word is shaded by how much the score changes without it" });
    this.counts = element("p.counts");
    this.note = element("div.notes");
    this.end = element("div.end", { "aria-hidden": "true" });
    const name = alone ? null : element("h2", {}, summary.name, element("small", {}, plural(summary.images, "image")));
    const info = element("div.info", {}, this.words, this.counts);
    this.section = element(
      "section.column",
      { "aria-label": summary.name },
      name,
      info,
      this.note,
      this.grid.list,
      this.end,
    );
    new IntersectionObserver(([entry]) => entry.isIntersecting && this.more(), { rootMargin: AHEAD }).observe(this.end);
  }

  get hits() {
    return this.grid.hits;
  }

  /** What each band of the hits meant when it was measured. */
  get meanings() {
    const side = this.state?.like || this.state?.image ? "image" : "text";
    return this.summary.bands[`${side}_to_image`] ?? {};
  }

  /**
   * Searches again and shows the first hits; a running search is aborted.
   * @param {object} state of the page
   * @param {{wanted: number, typing: boolean}} options number of hits; whether the query may change in a moment
   * @returns {Promise<boolean>} whether its answer is shown
   */
  async search(state, { wanted = PAGE, typing = false } = {}) {
    this.running?.abort();
    this.running = new AbortController();
    const { signal } = this.running;
    const slow = [
      setTimeout(() => this.section.classList.add("waiting"), SLOW),
      setTimeout(() => this.#wait(state), VERY_SLOW),
    ];
    signal.addEventListener("abort", () => slow.forEach(clearTimeout));
    const parameters = of(this.index, searchParameters(state));
    parameters.set("limit", Math.min(MOST, Math.max(PAGE, wanted)));
    try {
      const answer = await get("/api/search", parameters, signal);
      Object.assign(this, { answer, state, parameters, weighed: new Map(), top: null });
      this.#waited(slow);
      await this.#show(answer, typing);
      return answer === this.answer;
    } catch (error) {
      if (error.name === "AbortError") return false;
      this.#waited(slow);
      if (!(error instanceof Refused)) this.actions.gone();
      else this.#refused(error);
      return true;
    }
  }

  #waited(slow) {
    slow.forEach(clearTimeout);
    this.section.classList.remove("waiting");
  }

  /** Says what takes so long. */
  #wait(state) {
    this.words.replaceChildren();
    this.counts.textContent = state.image
      ? "Loading the image encoder, for the first search by an image …"
      : "Searching …";
  }

  /** Loads the next hits, if there are any and none are being loaded. */
  async more() {
    if (!this.answer?.more || this.loading || this.hits.length < this.answer.hits.length) return;
    const { answer, running } = this;
    this.loading = true;
    try {
      const parameters = new URLSearchParams(this.parameters);
      parameters.set("offset", this.hits.length);
      parameters.set("limit", PAGE);
      const next = await get("/api/search", parameters, running.signal);
      if (answer === this.answer) {
        const shown = new Set(this.hits.map((hit) => hit.key));
        answer.more = next.more;
        this.grid.show(
          next.hits.filter((hit) => !shown.has(hit.key)),
          this.hits.length,
        );
      }
    } catch (error) {
      if (error.name !== "AbortError" && !(error instanceof Refused)) this.actions.gone();
    } finally {
      this.loading = false;
    }
    const below = this.end.getBoundingClientRect().top - innerHeight;
    if (this.answer?.more && below < parseInt(AHEAD)) this.more();
  }

  /** Shows what is in the window at once, and the rest later. */
  async #show(answer, typing) {
    const start = isStart(this.state);
    this.grid.meanings = this.meanings;
    const first = Math.ceil((innerWidth * innerHeight) / TILE);
    this.grid.show(answer.hits.slice(0, first));
    const things = [plural(this.summary.images, "image"), plural(this.summary.texts, "text")];
    const all = this.summary.images + this.summary.texts;
    const what =
      answer.matching === all
        ? things.filter((text) => !text.startsWith("0 ")).join(", ")
        : `${count(answer.matching)} of ${count(all)}`;
    this.counts.textContent = start
      ? answer.matching === all
        ? ""
        : what
      : `${what} · ${duration(answer.milliseconds)}`;
    this.note.replaceChildren(...answer.notes.map((note) => element("p", {}, sentence(note))));
    this.unknown = new Set(answer.unknown_words.map(plain));
    const { text } = splitQuery(this.state.q);
    this.words.replaceChildren(...shaded(unshaded(text), this.unknown));
    if (!answer.hits.length) this.#empty();
    clearTimeout(this.soon);
    this.top = answer.hits[0]?.key ?? null;
    if (text && this.top) this.soon = setTimeout(() => this.#weigh(this.top), typing ? PAUSE : 0);
    if (answer.hits.length <= first) return;
    // While the user types, the images of hits below the window would only delay the next answer.
    await new Promise((resolve) => setTimeout(resolve, typing ? PAUSE : 0));
    if (answer === this.answer) this.grid.show(answer.hits.slice(first), first);
  }

  #hover(key) {
    this.actions.point(key, this);
    const wanted = key ?? this.top;
    if (!this.answer || !wanted || !splitQuery(this.state.q).text) return;
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.#weigh(wanted), this.weighed.has(wanted) ? 0 : 90);
  }

  /** Shades the words of the query for one item. */
  async #weigh(key) {
    const { answer, weighed } = this;
    const { text } = splitQuery(this.state.q);
    if (!weighed.has(key))
      weighed.set(
        key,
        get(`/api/weights/${key}`, of(this.index, { text })).catch(() => null),
      );
    const texts = await weighed.get(key);
    if (!texts || answer !== this.answer) return;
    this.words.replaceChildren(...shaded(texts[0].words, this.unknown));
  }

  #refused(error) {
    this.grid.show([]);
    this.answer = null;
    this.words.replaceChildren();
    this.counts.textContent = "";
    this.note.replaceChildren(element("p.problem", { role: "alert" }, sentence(error.message)));
  }

  #empty() {
    const state = this.state;
    const filtered = FILTERS.some((name) => state[name]);
    const button = (text, changes) =>
      element("button.plain", { type: "button", click: () => this.actions.again(changes) }, text);
    const ways = [];
    if (filtered) ways.push(button("Remove the filters", Object.fromEntries(FILTERS.map((name) => [name, ""]))));
    if (state.by === "text") ways.push(button("Search the images too", { by: "" }));
    if (!isStart(state)) ways.push(button("Show all", { q: "", minus: [], like: "", image: "" }));
    const why = filtered
      ? "No item passes the filters with this search."
      : isStart(state)
        ? "The index has no items."
        : "No caption, file name or folder has these words.";
    this.note.append(
      element(
        "div.empty",
        {},
        element("h3", {}, "Nothing found"),
        element("p", {}, why),
        element("p.ways", {}, ...ways),
      ),
    );
  }
}

/** 12.3 as "12 ms", 1234 as "1.2 s". */
const duration = (ms) => (ms < 10 ? `${ms} ms` : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/u.test(text) ? "" : ".");
