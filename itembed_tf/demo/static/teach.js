// Giving a name to images: a bar with the chosen images, the name, and what became of the lesson.

import { element, icon, ICONS, plural } from "./dom.js";
import { thumbnailURL } from "./api.js";
import { sentence } from "./columns.js";

const SHOWN = 6; // thumbnails
const MOST = 64; // images of a lesson

/** How far a lesson is, in words. */
export const progressOf = ({ name, undo, step, seconds }) =>
  `${undo ? "Undoing" : "Learning"} “${name}” … ${seconds} s${step ? ` (${step})` : ""}`;

export class Teach {
  /**
   * @param {HTMLElement} bar hidden while no image is chosen
   * @param {{lessons: (index: number) => object, chosen: (index: number, keys: Set<string>) => void,
   *   focus: (index: number, key: string) => void, search: (name: string) => void}} actions
   */
  constructor(bar, actions) {
    Object.assign(this, { bar, actions, index: null, keys: new Set(), sent: false });
    this.images = element("ul.taught", { "aria-label": "Images of the lesson" });
    this.input = element("input", {
      type: "text",
      name: "name",
      maxlength: "200",
      placeholder: "What does this show?",
      "aria-label": "Name of what the images show",
      spellcheck: "false",
    });
    this.submit = element("button.primary", { type: "submit" }, "Teach");
    this.hint = element("p.hint-line");
    this.state = element("p.outcome", { role: "status", "aria-live": "polite" });
    this.progress = element("progress", { "aria-label": "The lesson is being learned", hidden: true });
    this.form = element("form.naming", { autocomplete: "off" }, this.images, this.input, this.submit);
    const close = element(
      "button.round.cancel",
      { type: "button", "aria-label": "Close (Esc)", title: "Close (Esc)", click: () => this.close() },
      icon(ICONS.close),
    );
    bar.append(close, this.form, this.hint, this.progress, this.state);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    bar.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
  }

  /** Whether a click on an image of an index chooses it. */
  choosing(index) {
    return !this.bar.hidden && this.index === index && !this.form.hidden && !this.sent;
  }

  /** Starts with an image, or adds it to those that are chosen already; the name is typed next. */
  start(index, key) {
    if (!this.choosing(index)) {
      this.#choose(new Set(), index);
      this.input.value = "";
    }
    if (this.sent) return this.show();
    this.#choose(new Set([...this.keys, key]), index);
    this.show();
    this.input.focus();
  }

  /** Chooses an image, or no longer. */
  toggle(key) {
    const keys = new Set(this.keys);
    if (!keys.delete(key) && keys.size < MOST) keys.add(key);
    this.#choose(keys, this.index);
    if (keys.size) this.show();
    else this.close();
  }

  close() {
    const [index, key] = [this.index, [...this.keys].pop()];
    const inside = this.bar.contains(document.activeElement);
    this.bar.hidden = true;
    document.body.classList.remove("teaching");
    this.#choose(new Set(), index);
    if (inside && key) this.actions.focus(index, key);
  }

  /** Shows how far the lesson of an index is. */
  show() {
    const { cannot, running } = this.actions.lessons(this.index);
    this.bar.hidden = false;
    document.body.classList.add("teaching");
    this.form.hidden = Boolean(cannot);
    this.hint.textContent = cannot ? sentence(cannot) : "";
    this.progress.hidden = !running;
    this.submit.disabled = Boolean(running);
    this.input.readOnly = Boolean(running);
    if (running) {
      this.hint.textContent = "";
      this.#say(progressOf(running));
    } else {
      this.#say("");
      if (!cannot) this.hint.textContent = `${plural(this.keys.size, "image")}. Choose more of the same thing to add them.`;
    }
  }

  /** Shows how a lesson ended, also one that was begun before the page was loaded. */
  ended(index, { name, lesson, error }) {
    if (this.index !== index) this.#choose(new Set(), index);
    this.sent = false;
    this.show();
    this.hint.textContent = "";
    if (error) {
      this.#say(sentence(error), "problem");
      this.input.focus();
      return;
    }
    const recall = (value) => `${value.toFixed(2)} %`;
    const words = lesson.words.length ? `; new words: ${lesson.words.join(", ")}` : "";
    this.form.hidden = true;
    this.#choose(new Set(), this.index);
    this.#say(
      `“${name}” is learned from ${plural(lesson.images.length, "image")}${words}. ` +
        `R@1 on dev: ${recall(lesson.recall_before)} before, ${recall(lesson.recall_after)} now.`,
    );
    const search = () => {
      this.close();
      this.actions.search(name);
    };
    const button = element("button.plain", { type: "button", click: search }, `Search for “${name}”`);
    this.state.append(element("span.after", {}, button));
    button.focus();
  }

  async #send() {
    const name = this.input.value.trim();
    const lessons = this.actions.lessons(this.index);
    if (!name || lessons.running || !this.keys.size) return this.input.focus();
    this.sent = true;
    const refused = await lessons.teach(name, [...this.keys]);
    if (!refused) return;
    this.sent = false;
    this.show();
    this.#say(sentence(refused), "problem");
  }

  #choose(keys, index) {
    if (this.index !== null && this.index !== index) this.actions.chosen(this.index, new Set());
    Object.assign(this, { index, keys });
    if (index === null) return;
    this.actions.chosen(index, keys);
    const shown = [...keys].slice(-SHOWN).map((key) => {
      const remove = element(
        "button",
        { type: "button", "aria-label": "Leave this image out", title: "Leave this image out", click: () => this.toggle(key) },
        element("img", { src: thumbnailURL(index, key), alt: "" }),
      );
      return element("li", {}, remove);
    });
    const more = keys.size > SHOWN ? [element("li.count", {}, `+${keys.size - SHOWN}`)] : [];
    this.images.replaceChildren(...shown, ...more);
  }

  #say(text, kind = "") {
    this.state.className = `outcome ${kind}`;
    this.state.replaceChildren(text);
  }
}
