// The list of lessons of all indexes, in a dialog, with a button that undoes each.

import { element, icon, ICONS, day, plural } from "./dom.js";
import { thumbnailURL } from "./api.js";
import { sentence } from "./columns.js";
import { progressOf } from "./teach.js";

const SHOWN = 4; // thumbnails of a lesson

export class TaughtList {
  /**
   * @param {HTMLDialogElement} dialog
   * @param {HTMLButtonElement} button opens it, and shows how many lessons there are
   * @param {{indexes: () => Array<{name: string, lessons: object}>}} actions
   */
  constructor(dialog, button, actions) {
    Object.assign(this, { dialog, button, actions });
    button.addEventListener("click", () => this.open());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  open() {
    this.problem = "";
    this.#fill();
    this.dialog.showModal();
  }

  /** Shows how the undoing of a lesson ended. */
  ended({ error }) {
    this.problem = error;
    this.show();
  }

  /** Shows what has changed. */
  show() {
    const count = this.actions.indexes().reduce((sum, { lessons }) => sum + lessons.list.length, 0);
    this.button.hidden = false;
    this.button.replaceChildren("Lessons", ...(count ? [element("span.number", {}, String(count))] : []));
    if (this.dialog.open) this.#fill();
  }

  #fill() {
    const indexes = this.actions.indexes();
    const close = element(
      "button.round.close",
      { type: "button", "aria-label": "Close (Esc)", title: "Close (Esc)", click: () => this.dialog.close() },
      icon(ICONS.close),
    );
    const parts = indexes.flatMap(({ name, lessons }) => [
      indexes.length > 1 ? element("h3", {}, name) : null,
      ...this.#lessons(lessons),
    ]);
    const focused = document.activeElement?.dataset?.lesson;
    this.dialog.replaceChildren(
      element("h2", {}, "Lessons"),
      element("p.about", {}, "Names that the text encoder of the index was taught. An undone lesson leaves nothing behind."),
      ...parts.filter(Boolean),
      this.problem ? element("p.problem", { role: "alert" }, sentence(this.problem)) : "",
      close,
    );
    if (focused) this.dialog.querySelector(`[data-lesson="${focused}"]`)?.focus();
  }

  #lessons(lessons) {
    const { list, cannot, running } = lessons;
    const rows = list.map((lesson) => this.#row(lessons, lesson, running));
    const none = cannot || "No lessons yet: press Teach on an image, or T when it is focused";
    return [
      list.length ? element("ol.lessons-list", {}, ...rows) : element("p.none", {}, sentence(none)),
      running ? element("p.outcome", { role: "status" }, progressOf(running)) : null,
    ];
  }

  #row(lessons, lesson, running) {
    const recall = `R@1 on dev ${lesson.recall_before.toFixed(2)} → ${lesson.recall_after.toFixed(2)} %`;
    const facts = [plural(lesson.images.length, "image"), day(lesson.created), lesson.problem ? "" : recall];
    const images = lesson.images.slice(0, SHOWN).map((key) => {
      const image = element("img", { src: thumbnailURL(lessons.index, key), alt: "", loading: "lazy" });
      image.addEventListener("error", () => image.remove()); // no item of the index
      return image;
    });
    const undo = element(
      "button.plain",
      {
        type: "button",
        disabled: Boolean(running),
        "data-lesson": `${lessons.index}-${lesson.number}`,
        "aria-label": `Undo the lesson ${lesson.name}`,
        click: async () => {
          this.problem = await lessons.undo(lesson.number);
          this.show();
        },
      },
      lesson.problem ? "Remove" : "Undo",
    );
    return element(
      "li",
      {},
      element("span.pictures", {}, ...images),
      element(
        "div",
        {},
        element("p.name", {}, lesson.name),
        element("p.facts", {}, facts.filter(Boolean).join(" · ")),
        lesson.problem ? element("p.problem", {}, `Not applied: ${lesson.problem}`) : null,
      ),
      undo,
    );
  }
}
