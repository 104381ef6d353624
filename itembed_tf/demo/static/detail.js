// One item, large: its captions and the query with shaded words, its fields and places, similar items.

import { element, icon, ICONS, day, count } from "./dom.js";
import { get, imageURL, of, thumbnailURL } from "./api.js";
import { sentence } from "./columns.js";
import { aspect, caption, foundBy } from "./grid.js";
import { splitQuery } from "./state.js";
import { plain, shaded, unshaded } from "./words.js";

const CAPTIONS = 5; // shown and weighed

export class Detail {
  /** @param {HTMLDialogElement} dialog @param {object} actions close(), open(key), similar(key), teach(index, key), step(by), href(key) */
  constructor(dialog, actions) {
    Object.assign(this, { dialog, actions, shownKey: null });
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault(); // the state of the page decides
      actions.close();
    });
    dialog.addEventListener("click", (event) => event.target === dialog && actions.close());
    dialog.addEventListener("keydown", (event) => this.#key(event));
  }

  get isOpen() {
    return this.dialog.open;
  }

  hide() {
    this.shownKey = null;
    this.running?.abort();
    if (this.dialog.open) this.dialog.close();
  }

  /**
   * @param {number} index of the server's indexes
   * @param {string} key of the item
   * @param {object|null} hit as the grid has it; null if the item is not among the hits
   * @param {object} state of the page
   * @param {{unknown: Set<string>, meanings: object}} answer unknown words of the query, meanings of the bands
   */
  async show(index, key, hit, state, { unknown, meanings }) {
    if (this.shownKey === `${index} ${key} ${state.q}`) return;
    this.shownKey = `${index} ${key} ${state.q}`;
    this.running?.abort();
    this.running = new AbortController();
    const { signal } = this.running;
    this.#frame(index, key, hit);
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
    try {
      const item = await get(`/api/item/${key}`, of(index), signal);
      const { text } = splitQuery(state.q);
      this.#fill(index, item, hit, text, unknown, meanings);
      await this.#weigh(index, item, text, unknown, signal);
    } catch (error) {
      if (error.name !== "AbortError")
        this.side.append(element("p.problem", { role: "alert" }, sentence(error.message)));
    }
  }

  #frame(index, key, hit) {
    const button = (name, label, path, act) =>
      element(`button.round.${name}`, { type: "button", "aria-label": label, title: label, click: act }, icon(path));
    this.stage = element("div.stage");
    this.side = element("div.side");
    this.more = element("div.more");
    this.dialog.replaceChildren(
      element("div.item", {}, this.stage, this.side),
      this.more,
      button("close", "Close (Esc)", ICONS.close, () => this.actions.close()),
      button("previous", "Previous (←)", ICONS.left, () => this.actions.step(-1)),
      button("next", "Next (→)", ICONS.right, () => this.actions.step(1)),
    );
    if (hit?.kind !== "text") this.#image(index, key, hit);
  }

  /** The thumbnail at once, and the original over it as soon as it is there. */
  #image(index, key, hit) {
    const small = element("img.small", { src: thumbnailURL(index, key), alt: "" });
    const large = element("img.large", { alt: hit ? caption(hit) : "", src: imageURL(index, key) });
    const box = element("div.box", {}, small, large);
    box.style.setProperty("--aspect", hit ? aspect(hit) : 1);
    large.addEventListener("load", () => {
      box.style.setProperty("--aspect", large.naturalWidth / large.naturalHeight);
      box.style.setProperty("--width", `${large.naturalWidth}px`);
      box.classList.add("loaded");
    });
    large.addEventListener("error", async () => {
      large.remove();
      small.alt = hit ? caption(hit) : "";
      const reason = await get(`/api/image/${key}`, of(index)).catch((error) => error.message);
      this.stage.append(element("p.hint", {}, `This is the thumbnail: ${reason}`));
    });
    this.stage.append(box);
  }

  #fill(index, item, hit, text, unknown, meanings) {
    if (item.kind === "text") this.stage.replaceChildren(element("blockquote", {}, item.captions[0] ?? item.name));
    this.texts = [];
    const line = (own, words, known) => {
      const node = element("p.shaded", {}, ...shaded(unshaded(words), known));
      this.texts.push([words, node, known]);
      return element(`div.line.${own}`, {}, node);
    };
    const parts = [];
    if (hit && (hit.band || hit.score !== null)) parts.push(this.#verdict(hit, meanings));
    if (text) parts.push(element("h3", {}, "Your words"), line("query", text, unknown));
    const captions = item.kind === "text" ? [] : item.captions.slice(0, CAPTIONS);
    if (captions.length)
      parts.push(
        element("h3", {}, captions.length > 1 ? "Captions" : "Caption"),
        ...captions.map((each) => line("caption", each, new Set())),
      );
    if (text || captions.length) parts.push(this.#legend());
    parts.push(this.#facts(item), this.#buttons(index, item));
    this.side.replaceChildren(...parts);
    this.more.replaceChildren(...this.#similar(index, item));
  }

  #verdict(hit, meanings) {
    const by = [...(hit.found_by.includes("vector") ? [hit.kind] : []), ...foundBy(hit)].join(" and ");
    return element(
      "p.verdict",
      {},
      hit.band ? element(`span.band.${hit.band}`, {}, hit.band) : null,
      hit.score === null
        ? null
        : element("span.score", { title: "cosine similarity of query and item" }, `score ${hit.score.toFixed(3)}`),
      by ? element("span.found", {}, `found by ${by}`) : null,
      meanings[hit.band] ? element("span.meaning", {}, meanings[hit.band]) : null,
    );
  }

  #legend() {
    const mark = (name, text) => {
      const swatch = element(`mark${name}`, {}, text);
      swatch.style.setProperty("--shade", "0.7");
      return swatch;
    };
    return element(
      "p.legend",
      {},
      "A word speaks ",
      mark("", "for"),
      " or ",
      mark(".against", "against"),
      " the item: the score falls or rises without it.",
    );
  }

  #facts(item) {
    const rows = [
      ["Name", item.name],
      ["Date", day(item.date)],
    ];
    if (item.width)
      rows.push(["Size", `${count(item.width)} × ${count(item.height)}${item.bytes ? `, ${bytes(item.bytes)}` : ""}`]);
    for (const [name, value] of Object.entries(item.fields))
      if (value !== null && value !== "") rows.push([name, String(value)]);
    rows.push(
      [item.paths.length > 1 ? `${item.paths.length} copies` : "Path", item.paths.join("\n")],
      ["Item", String(item.id)],
    );
    return element(
      "dl",
      {},
      ...rows
        .filter(([, value]) => value)
        .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
    );
  }

  #buttons(index, item) {
    const similar = element(
      "button.primary",
      { type: "button", click: () => this.actions.similar(item.key) },
      icon(ICONS.similar),
      "Similar",
    );
    const open = element(
      "a.plain",
      { href: imageURL(index, item.key), target: "_blank", rel: "noopener" },
      icon(ICONS.open),
      "Original",
    );
    const teach = element(
      "button.plain",
      { type: "button", title: "Teach a name for this", click: () => this.actions.teach(index, item.key) },
      icon(ICONS.teach),
      "Teach",
    );
    return element("p.buttons", {}, similar, ...(item.kind === "image" ? [teach, open] : []));
  }

  #similar(index, item) {
    if (!item.similar.length) return [];
    const tiles = item.similar.map((hit) => {
      const inside =
        hit.kind === "text"
          ? element("span", {}, caption(hit))
          : element("img", { src: thumbnailURL(index, hit.key), alt: "", loading: "lazy" });
      const open = (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        this.actions.open(hit.key);
      };
      const link = element(
        "a",
        { href: this.actions.href(hit.key), title: caption(hit), "aria-label": caption(hit), click: open },
        inside,
      );
      link.style.setProperty("--aspect", Math.min(1.8, Math.max(0.6, aspect(hit))));
      return element("li", {}, link);
    });
    return [element("h3", {}, "Similar"), element("ul.strip", {}, ...tiles)];
  }

  async #weigh(index, item, text, unknown, signal) {
    if (!this.texts.length) return;
    const parameters = of(index);
    for (const [words] of this.texts) parameters.append("text", words);
    const weighed = await get(`/api/weights/${item.key}`, parameters, signal);
    this.texts.forEach(([, node, known], i) => node.replaceChildren(...shaded(weighed[i].words, known)));
  }

  #key(event) {
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      event.preventDefault();
      this.actions.step(event.key === "ArrowLeft" ? -1 : 1);
    } else if ((event.key === "s" || event.key === "S") && !event.ctrlKey && !event.metaKey) {
      this.actions.similar(this.shownKey.split(" ")[1]);
    }
  }
}

/** 123456 as "123 kB". */
export function bytes(size) {
  const units = ["bytes", "kB", "MB", "GB"];
  let unit = 0;
  for (; size >= 1000 && unit < 3; unit++) size /= 1000;
  return `${unit && size < 10 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}
