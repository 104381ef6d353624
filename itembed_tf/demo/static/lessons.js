// The lessons of one index: given, undone, and followed while the server learns them.

import { get, of, post, Refused, ServerGone } from "./api.js";

const POLL = 500; // ms between two questions how far a lesson is

export class Lessons {
  /**
   * @param {number} index of the server's indexes
   * @param {{changed: () => void, ended: (outcome: object) => void, gone: () => void}} actions
   */
  constructor(index, actions) {
    Object.assign(this, { index, actions, list: [], cannot: "", running: null, seen: 0 });
  }

  /** Asks once; a lesson that is in progress, as after a reload, is followed. */
  async start() {
    try {
      const state = await get("/api/lessons", of(this.index));
      this.seen = state.outcome?.number ?? 0;
      this.#take(state);
    } catch {
      // the page works without
    }
  }

  /** Begins a lesson. @returns {Promise<string>} why it was refused at once; "" if it was not */
  teach(name, keys) {
    return this.#begin("/api/lessons", { name, keys });
  }

  /** Begins to undo a lesson; answers as `teach`. */
  undo(number) {
    return this.#begin("/api/lessons/undo", { number });
  }

  async #begin(path, body) {
    try {
      this.#take(await post(path, of(this.index), body));
      return "";
    } catch (error) {
      if (error instanceof ServerGone) this.actions.gone();
      return error.message;
    }
  }

  #take({ lessons, cannot, running, outcome }) {
    Object.assign(this, { list: lessons, cannot, running });
    this.actions.changed();
    if (outcome && outcome.number > this.seen && !running) {
      this.seen = outcome.number;
      this.actions.ended(outcome);
    }
    clearTimeout(this.next);
    if (running) this.next = setTimeout(() => this.#follow(), POLL);
  }

  async #follow() {
    try {
      this.#take(await get("/api/lessons", of(this.index)));
    } catch (error) {
      if (!(error instanceof Refused)) this.actions.gone();
      this.next = setTimeout(() => this.#follow(), 4 * POLL);
    }
  }
}
