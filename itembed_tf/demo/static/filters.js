// Filters, order, and where to search: lists of the system, so that they work with keys, a screen reader and a thumb.

import { element, icon, ICONS, count } from "./dom.js";

const BY = [
  ["", "Images and captions"],
  ["vector", "Images only"],
  ["text", "Captions and names"],
];
const SORT = [
  ["", "Best first"],
  ["date", "Newest first"],
];
const SPLITS = { train: "Seen in training", dev: "Not seen: dev", test: "Not seen: test" };
const KINDS = { image: "Images", text: "Texts" };

export class Filters {
  constructor(bar, changed) {
    Object.assign(this, { bar, changed, lists: {} });
    for (const [name, label] of [
      ["folder", "Folder"],
      ["year", "Year"],
      ["kind", "Kind"],
      ["split", "Split"],
      ["by", "Search in"],
      ["sort", "Order"],
    ]) {
      const list = element("select", { name, "aria-label": label, change: () => changed({ [name]: list.value }) });
      this.lists[name] = list;
      bar.append(element("span.list", {}, list));
    }
    this.where = element("input.where", {
      type: "text",
      "aria-label": "Filter expression",
      placeholder: "year >= 2020 and name like '%.png'",
      spellcheck: "false",
      maxlength: "2000",
      hidden: true,
    });
    this.where.addEventListener("change", () => changed({ where: this.where.value.trim() }));
    this.where.addEventListener(
      "keydown",
      (event) => event.key === "Enter" && changed({ where: this.where.value.trim() }),
    );
    this.expert = element(
      "button.expert",
      {
        type: "button",
        "aria-expanded": "false",
        "aria-label": "Filter by an expression",
        title: "Filter by an expression",
        click: () => this.#toggle(this.where.hidden, true),
      },
      icon(ICONS.filter),
    );
    bar.append(this.expert, this.where);
    fill(this.lists.by, BY);
    fill(this.lists.sort, SORT);
  }

  /**
   * Fills the lists.
   * @param {{folder: Array, year: Array, kind: Array, split: Array}} facets pairs of value and number of items
   */
  set(facets) {
    const root = commonFolder(facets.folder.map(([value]) => value));
    const options = (name, all, label) => [
      ["", all],
      ...facets[name].map(([value, n]) => [String(value), `${label(value)} (${count(n)})`]),
    ];
    fill(
      this.lists.folder,
      options("folder", "All folders", (folder) => folder.slice(root.length) || folder.split("/").pop() || "/"),
    );
    fill(this.lists.year, options("year", "All years", String));
    fill(
      this.lists.kind,
      options("kind", "Images and texts", (kind) => KINDS[kind] ?? kind),
    );
    fill(
      this.lists.split,
      options("split", "Seen in training or not", (split) => SPLITS[split] ?? split),
    );
    for (const name of ["folder", "year", "kind", "split"])
      this.lists[name].parentElement.hidden = facets[name].length < 2;
    this.bar.classList.add("filled");
    if (this.state) this.show(this.state);
  }

  show(state, start) {
    this.state = state;
    for (const [name, list] of Object.entries(this.lists)) {
      if (![...list.options].some((option) => option.value === state[name]))
        list.append(new Option(state[name], state[name]));
      list.value = state[name];
      list.parentElement.classList.toggle("set", Boolean(state[name]));
    }
    if (start !== undefined) {
      this.lists.by.parentElement.hidden = start;
      this.lists.sort.parentElement.hidden = start;
    }
    if (document.activeElement !== this.where) this.where.value = state.where;
    if (state.where) this.#toggle(true);
  }

  #toggle(open, focus = false) {
    this.where.hidden = !open;
    this.expert.setAttribute("aria-expanded", String(open));
    if (open && focus) this.where.focus();
    if (!open && this.state?.where) this.changed({ where: "" });
  }
}

const fill = (list, options) => list.replaceChildren(...options.map(([value, text]) => new Option(text, value)));

/** The part that all folders have in common, up to a slash: it is not shown. */
export function commonFolder(folders) {
  let common = folders[0] ?? "";
  for (const folder of folders)
    while (!`${folder}/`.startsWith(common)) common = common.slice(0, common.slice(0, -1).lastIndexOf("/") + 1);
  return common.replace(/[^/]*$/u, "");
}
