// What is shown, as the URL has it: the search, the filters, the open item. Nothing else decides what the page shows.

const SINGLE = ["q", "like", "image", "folder", "year", "kind", "split", "where", "by", "sort", "item", "at"];
export const FILTERS = ["folder", "year", "kind", "split", "where"];
const SETTLED = 1200; // ms without typing, after which the next change is a new entry of the history

/** The state of a URL's query string. */
export function parse(search) {
  const parameters = new URLSearchParams(search);
  const state = { minus: parameters.getAll("minus") };
  for (const name of SINGLE) state[name] = parameters.get(name) ?? "";
  return state;
}

/** The query string of a state: only what differs from the start page. */
export function format(state) {
  const parameters = new URLSearchParams();
  for (const name of SINGLE) if (state[name]) parameters.append(name, state[name]);
  for (const term of state.minus) parameters.append("minus", term);
  const text = parameters.toString();
  return text ? `?${text}` : "/";
}

/** A state without its item: two states with equal ones show the same hits. */
export const searchOf = (state) => format({ ...state, item: "", at: "" });

/** Whether nothing is searched for: all items are shown. Terms to subtract need something to subtract them from. */
export const isStart = (state) => !(splitQuery(state.q).text || state.like || state.image);

/**
 * The words to search by and the terms to subtract: "dog -snow" is dog without snow; -"deep snow" is one term.
 * A hyphen inside a word, as in "T-shirt", is part of it.
 */
export function splitQuery(text) {
  const minus = [];
  const plus = text.replace(/(^|\s)[-−](?:"([^"]*)"?|([^\s"]+))/gu, (_, before, phrase, word) => {
    const term = (phrase ?? word).trim();
    if (term) minus.push(term);
    return before;
  });
  return { text: plus.replace(/\s+/gu, " ").trim(), minus };
}

/** The parameters of a search request: by an image, an item or a text. */
export function searchParameters(state) {
  const { text, minus } = splitQuery(state.q);
  const source = state.image ? { image: state.image } : state.like ? { like: state.like } : { q: text, by: state.by };
  const single = { ...source, sort: state.sort };
  for (const name of FILTERS) single[name] = state[name];
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(single)) if (value) parameters.append(name, value);
  if (!isStart(state)) for (const term of [...state.minus, ...minus]) parameters.append("minus", term);
  return parameters;
}

/**
 * The current state, and its changes in the browser's history. Every entry keeps how far the page was scrolled, how
 * many hits were loaded, and whether its item was opened from the page, so that closing it goes back.
 */
export class History {
  /**
   * @param {(state: object, before: object, restored: object|null, typing?: boolean) => void} changed called after it
   * @param {() => {scroll: number, counts: number[]}} view of the page now
   */
  constructor(changed, view) {
    Object.assign(this, {
      state: parse(location.search),
      changed,
      view,
      typed: -Infinity,
      opened: history.state?.opened ?? false,
    });
    history.scrollRestoration = "manual"; // the hits must be there first
    addEventListener("popstate", (event) => {
      const before = this.state;
      this.state = parse(location.search);
      Object.assign(this, { typed: -Infinity, opened: event.state?.opened ?? false });
      this.changed(this.state, before, event.state ?? {});
    });
  }

  /**
   * Changes the state.
   * @param {object} changes
   * @param {boolean} typing letters of one query are one entry of the history, unless there was a pause
   * @param {boolean} replace no new entry
   */
  go(changes, { typing = false, replace = false } = {}) {
    const before = this.state;
    const next = { ...before, ...changes };
    if (format(next) === format(before)) return;
    const now = performance.now();
    const same = replace || (typing && now - this.typed < SETTLED);
    this.typed = typing ? now : -Infinity;
    this.remember();
    this.state = next;
    if (same) {
      history.replaceState({ ...this.view(), opened: this.opened }, "", format(next));
    } else {
      this.opened = Boolean(next.item && !before.item);
      history.pushState({ opened: this.opened }, "", format(next));
    }
    this.changed(next, before, null, typing);
  }

  /** Closes the open item: goes back to the entry from which it was opened, if there is one. */
  close() {
    if (this.opened) history.back();
    else this.go({ item: "", at: "" }, { replace: true });
  }

  /** Keeps the view with the current entry. */
  remember() {
    history.replaceState({ ...this.view(), opened: this.opened }, "", location.href);
  }
}
