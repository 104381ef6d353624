// The search field: text, excluded terms as chips, the item or image that is searched by.

import { element, icon, ICONS } from "./dom.js";
import { queryImageURL, thumbnailURL } from "./api.js";
import { splitQuery } from "./state.js";

export class QueryField {
  /** @param {{changed: (changes: object, options: object) => void, down: () => void, indexes: () => number}} actions */
  constructor(form, actions) {
    this.actions = actions;
    this.input = form.querySelector("#query");
    this.chips = form.querySelector(".chips");
    this.like = form.querySelector(".like");
    this.clear = form.querySelector(".clear");
    this.input.addEventListener("input", () => this.#typed());
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.clear.addEventListener("click", () => {
      actions.changed({ q: "", minus: [], like: "", image: "" });
      this.input.focus();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#commit();
    });
    form.querySelector(".field").addEventListener("pointerdown", (event) => {
      if (event.target.closest("button, label, input, a")) return;
      event.preventDefault();
      this.input.focus();
    });
  }

  /** Shows a state; text that is being typed is left as it is. */
  show(state) {
    if (this.input.value !== state.q) this.input.value = state.q;
    this.clear.hidden = !(state.q || state.minus.length || state.like || state.image);
    this.chips.replaceChildren(...state.minus.map((term) => this.#chip(state, term)));
    this.#showImage(state);
    this.input.placeholder = state.like || state.image || state.minus.length ? "" : "Describe an image";
  }

  /** A text takes the place of an image or item that was searched by; terms to exclude go with either. */
  #typed() {
    const other = splitQuery(this.input.value).text ? { like: "", image: "" } : {};
    this.actions.changed({ q: this.input.value, ...other }, { typing: true });
  }

  #chip(state, term) {
    const remove = () => {
      this.actions.changed({ minus: state.minus.filter((each) => each !== term) });
      this.input.focus();
    };
    const text = element(
      "button.chip",
      { type: "button", "aria-label": `Excluded: ${term}; remove`, click: remove },
      `− ${term}`,
      icon(ICONS.close),
    );
    return element("li", {}, text);
  }

  #showImage(state) {
    const key = state.image || state.like;
    this.like.hidden = !key;
    if (!key || this.like.dataset.key === key) return;
    this.like.dataset.key = key;
    let index = 0; // the item may be in one index only
    const image = element("img", { src: state.image ? queryImageURL(key) : thumbnailURL(0, key), alt: "" });
    image.addEventListener("error", () => {
      index += 1;
      if (!state.image && index < this.actions.indexes()) image.src = thumbnailURL(index, key);
      else image.remove();
    });
    const remove = () => this.actions.changed({ like: "", image: "" });
    const what = state.image ? "Your image" : "Similar";
    this.like.replaceChildren(
      element(
        "button.chip",
        { type: "button", "aria-label": `${what}; remove`, click: remove },
        image,
        what,
        icon(ICONS.close),
      ),
    );
  }

  /** Enter: typed -terms become chips, and the search is an entry of the history. */
  #commit() {
    const { text, minus } = splitQuery(this.input.value);
    if (minus.length) this.actions.changed({ q: text }, { minus });
    else this.actions.changed({ q: text }, { settled: true });
    if (matchMedia("(pointer: coarse)").matches) this.input.blur(); // hides the keyboard of a phone
  }

  #key(event) {
    if (event.key === "ArrowDown") {
      event.preventDefault();
      this.actions.down();
    } else if (event.key === "Escape") {
      if (this.input.value) this.actions.changed({ q: "" }, { typing: true });
      else this.input.blur();
    } else if (event.key === "Backspace" && !this.input.value) {
      this.actions.backspace();
    }
  }
}
