// The hits of one index as rows of equal height, in order; the size of every tile is known before its image is there.

import { element, icon, ICONS, day } from "./dom.js";
import { thumbnailURL } from "./api.js";

const NARROWEST = 0.6,
  WIDEST = 2.6; // aspects beyond are cropped, so that no tile is a sliver
const TOUCH = matchMedia("(hover: none)");
const FOUND = { caption: "caption", name: "file name", folder: "folder" };

/** Heights of a row by the width of the grid. */
const rowHeight = (width) => (width < 520 ? 148 : width < 900 ? 172 : 204);

/**
 * Widths and heights of tiles in rows that fill `width`, each row as near to `height` as its images allow.
 * @param {number[]} aspects width over height of each tile
 * @param {number} gap between two tiles of a row, pixels
 * @returns {Array<[number, number]>} pixels
 */
export function justify(aspects, width, height, gap) {
  const sizes = [];
  let row = [];
  const close = (fill) => {
    const sum = row.reduce((total, aspect) => total + aspect, 0);
    const full = (width - gap * (row.length - 1)) / sum;
    const used = fill ? full : Math.min(full, height);
    for (const aspect of row) sizes.push([Math.floor(aspect * used * 10) / 10, Math.round(used)]);
    row = [];
  };
  for (const aspect of aspects) {
    row.push(Math.min(WIDEST, Math.max(NARROWEST, aspect)));
    const sum = row.reduce((total, each) => total + each, 0);
    if (sum * height + gap * (row.length - 1) >= width) close(true);
  }
  if (row.length) close(false);
  return sizes;
}

export class Grid {
  /**
   * @param {number} index of the server's indexes
   * @param {{href: Function, open: Function, similar: Function, teach: Function, hover: Function}} actions
   */
  constructor(index, actions) {
    this.index = index;
    this.actions = actions;
    this.hits = [];
    this.meanings = {}; // what each band meant when it was measured
    this.tiles = [];
    this.chosen = new Set(); // keys of the images of a lesson that is to be given
    this.list = element("ol.grid", { "aria-label": "Results" });
    this.list.addEventListener("keydown", (event) => this.#key(event));
    this.list.addEventListener("pointerover", (event) => this.#hovered(event.target));
    this.list.addEventListener("pointerleave", () => actions.hover(null));
    this.list.addEventListener("focusin", (event) => this.#hovered(event.target));
    this.list.addEventListener("focusin", (event) => this.#current(event.target.closest(".tile")));
    new ResizeObserver(() => this.#width() !== this.laidOut && this.layout()).observe(this.list);
  }

  /** Shows hits from position `from` on; those before stay. Tiles of items that are still shown are kept. */
  show(hits, from = 0) {
    const room = this.#room(); // before any tile changes: after that, the browser would lay all of them out twice
    const kept = new Map(this.tiles.slice(from).map((tile) => [tile.dataset.key, tile]));
    const hadFocus = this.list.contains(document.activeElement);
    const focused = hadFocus ? document.activeElement.closest(".tile")?.dataset.key : null;
    const tiles = hits.map((hit) => {
      const tile = this.#tile(hit, kept.get(hit.key));
      kept.delete(hit.key);
      return tile;
    });
    this.hits = [...this.hits.slice(0, from), ...hits];
    this.tiles = [...this.tiles.slice(0, from), ...tiles];
    this.layout(room);
    if (from) this.list.append(...tiles);
    else this.list.replaceChildren(...this.tiles);
    const current = this.tiles.find((tile) => tile.dataset.key === focused) ?? this.tiles[0];
    this.#current(current);
    if (hadFocus && !from) current?.firstElementChild.focus({ preventScroll: true }); // moving a node takes its focus
  }

  #width() {
    return Math.floor(this.list.getBoundingClientRect().width); // clientWidth rounds up
  }

  /** Width of the grid, and the gap between two tiles, in pixels. */
  #room() {
    return { width: this.#width(), gap: parseFloat(getComputedStyle(this.list).columnGap) };
  }

  layout({ width, gap } = this.#room()) {
    if (!width || !this.tiles.length) return;
    this.laidOut = width;
    const sizes = justify(this.hits.map(aspect), width, rowHeight(width), gap);
    this.tiles.forEach((tile, i) => {
      tile.style.width = `${sizes[i][0]}px`;
      tile.classList.toggle("tight", sizes[i][0] < 215);
      tile.classList.toggle("narrow", sizes[i][0] < 165);
      tile.classList.toggle("slim", sizes[i][0] < 120);
      tile.firstElementChild.style.height = `${sizes[i][1]}px`;
    });
  }

  /** Marks the tile of an item that another index shows under the pointer. */
  mark(key) {
    for (const tile of this.tiles) tile.classList.toggle("same", tile.dataset.key === key);
  }

  /** Marks the tiles of images that are chosen for a lesson. */
  choose(keys) {
    this.chosen = keys;
    this.tiles.forEach((tile, i) => this.#showChosen(tile, this.hits[i]));
  }

  #showChosen(tile, hit) {
    const chosen = this.chosen.has(hit.key);
    tile.classList.toggle("chosen", chosen);
    tile.firstElementChild.setAttribute("aria-label", label(hit) + (chosen ? ", chosen for the lesson" : ""));
  }

  focus(key = null) {
    const tile = this.tiles.find((each) => each.dataset.key === key) ?? this.tiles[0];
    tile?.firstElementChild.focus();
    return Boolean(tile);
  }

  #tile(hit, tile) {
    const made = tile ?? this.#newTile(hit);
    const link = made.firstElementChild;
    link.href = this.actions.href(hit);
    this.#showChosen(made, hit);
    made.querySelector(".under").replaceChildren(...under(hit, this.meanings));
    return made;
  }

  #newTile(hit) {
    const text = caption(hit);
    const inside =
      hit.kind === "text"
        ? element("blockquote", {}, text)
        : element("img", {
            src: thumbnailURL(this.index, hit.key),
            alt: "",
            loading: "lazy",
            decoding: "async",
            draggable: "false",
          });
    inside.addEventListener("error", () => inside.replaceWith(element("span.missing", {}, "No thumbnail")));
    const open = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      this.actions.open(hit.key);
    };
    const similar = element(
      "button.similar",
      {
        type: "button",
        "aria-label": `Similar to ${text}`,
        title: "Similar (S)",
        click: () => this.actions.similar(hit.key),
      },
      icon(ICONS.similar),
      element("span", {}, "Similar"),
    );
    return element(
      "li.tile",
      { "data-key": hit.key },
      element("a.frame", { href: "#", draggable: "false", click: open }, inside),
      similar,
      TOUCH.matches ? this.#teachButton(hit) : null,
      element("div.under"),
    );
  }

  #teachButton(hit) {
    if (hit.kind !== "image") return null;
    return element(
      "button.teach-this",
      {
        type: "button",
        "aria-label": `Teach a name for ${caption(hit)}`,
        title: "Teach a name for this (T)",
        click: () => this.actions.teach(hit.key),
      },
      icon(ICONS.teach),
      element("span", {}, "Teach"),
    );
  }

  #hovered(target) {
    const tile = target.closest?.(".tile");
    if (!tile) return;
    this.actions.hover(tile.dataset.key);
    if (tile.querySelector(".teach-this")) return;
    // Only where it may be pressed: a button more on every tile would delay the results of each letter.
    const teach = this.#teachButton(this.hits[this.tiles.indexOf(tile)]);
    if (teach) tile.children[1].after(teach);
    this.#current(this.tiles.find((each) => each.firstElementChild.tabIndex === 0));
  }

  /** One tile takes part in the order of the Tab key; the arrow keys move to the others. */
  #current(tile) {
    if (!tile) return;
    for (const each of this.tiles) {
      const index = each === tile ? 0 : -1;
      for (const part of each.querySelectorAll(":scope > a, :scope > button")) part.tabIndex = index;
    }
  }

  #key(event) {
    const at = this.tiles.indexOf(event.target.closest(".tile"));
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "s" || event.key === "S") {
      event.preventDefault();
      this.actions.similar(this.hits[at].key);
      return;
    }
    if ((event.key === "t" || event.key === "T") && this.hits[at].kind === "image") {
      event.preventDefault();
      this.actions.teach(this.hits[at].key);
      return;
    }
    const next = {
      ArrowRight: () => at + 1,
      ArrowLeft: () => at - 1,
      ArrowDown: () => this.#vertical(at, 1),
      ArrowUp: () => this.#vertical(at, -1),
      Home: () => 0,
      End: () => this.tiles.length - 1,
    }[event.key]?.();
    if (next === undefined) return;
    event.preventDefault();
    if (next < 0) this.actions.leave();
    else this.tiles[Math.min(next, this.tiles.length - 1)].firstElementChild.focus();
  }

  /** The tile above or below whose middle is nearest; -1 above the first row. */
  #vertical(at, direction) {
    const here = this.tiles[at].getBoundingClientRect();
    const middle = here.left + here.width / 2;
    let best = direction < 0 ? -1 : this.tiles.length - 1,
      nearest = Infinity,
      row = null;
    for (let i = at + direction; i >= 0 && i < this.tiles.length; i += direction) {
      const box = this.tiles[i].getBoundingClientRect();
      if (Math.abs(box.top - here.top) < 2) continue;
      row ??= box.top;
      if (Math.abs(box.top - row) > 2) break;
      const distance = Math.abs(box.left + box.width / 2 - middle);
      if (distance < nearest) [best, nearest] = [i, distance];
    }
    return best;
  }
}

/** What a hit is called: its first caption, or the name of its file. */
export const caption = (hit) => hit.captions[0] || hit.name;

/** Width over height; 1 for a text. */
export const aspect = (hit) => (hit.width && hit.height ? hit.width / hit.height : 1);

/** What a hit was found by beside its vector. */
export const foundBy = (hit) => hit.found_by.filter((what) => what !== "vector").map((what) => FOUND[what] ?? what);

/** What is written under a tile: caption or name; then band and score, or the date. */
function under(hit, meanings) {
  const found = foundBy(hit);
  const facts = [];
  if (hit.band) facts.push(element(`span.band.${hit.band}`, { title: meanings[hit.band] ?? null }, hit.band));
  if (hit.score !== null) facts.push(element("span.score", { title: "cosine similarity" }, hit.score.toFixed(2)));
  if (found.length) facts.push(element("span.found", { title: `found by ${found.join(" and ")}` }, `by ${found[0]}`));
  if (hit.copies > 1) facts.push(element("span.copies", {}, `${hit.copies} copies`));
  if (hit.date) facts.push(element("span.date", {}, day(hit.date)));
  const text = hit.kind === "text" ? hit.name : caption(hit);
  return [element("p.text", { title: text }, text), element("p.facts", {}, ...facts)];
}

function label(hit) {
  const parts = [caption(hit)];
  if (hit.band) parts.push(`${hit.band} match`);
  if (hit.score !== null) parts.push(`score ${hit.score.toFixed(2)}`);
  const found = foundBy(hit);
  if (found.length) parts.push(`found by ${found.join(" and ")}`);
  if (hit.copies > 1) parts.push(`${hit.copies} copies`);
  if (hit.date) parts.push(day(hit.date));
  return parts.join(", ");
}
