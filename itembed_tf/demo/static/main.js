// The page: what happens when the state changes, and which part it concerns.

import { element, plural } from "./dom.js";
import { get, of, sendImage, ServerGone } from "./api.js";
import { Column, sentence } from "./columns.js";
import { Detail } from "./detail.js";
import { caption } from "./grid.js";
import { takeImages } from "./drop.js";
import { Filters } from "./filters.js";
import { Lessons } from "./lessons.js";
import { QueryField } from "./query.js";
import { format, History, isStart, searchOf } from "./state.js";
import { TaughtList } from "./taught.js";
import { Teach } from "./teach.js";

const RETRY = 1500; // ms between two tries to reach a server that is gone
const SUGGESTIONS = 5;

const find = (selector) => document.querySelector(selector);
const message = find(".message");
const hero = find(".hero");
let columns = [];

const view = () => ({ scroll: scrollY, counts: columns.map((column) => column.hits.length) });
const history_ = new History(changed, view);
const field = new QueryField(find("form.search"), {
  changed: (changes, options) => change(changes, options),
  down: () => columns.some((column) => column.grid.focus()),
  indexes: () => columns.length,
  backspace: () => {
    const { like, image, minus } = history_.state;
    if (minus.length) change({ minus: minus.slice(0, -1) });
    else if (like || image) change({ like: "", image: "" });
  },
});
const filters = new Filters(find(".filters"), (changes) => change(changes));
const detail = new Detail(find("dialog.detail"), {
  close: () => history_.close(),
  open: (key) => change({ item: key }, { replace: true }),
  similar,
  teach: teachFromDetail,
  href: (key) => format({ ...history_.state, item: key }),
  step,
});
const teach = new Teach(find(".teach"), {
  lessons: (index) => columns[index].lessons,
  chosen: (index, keys) => columns[index].grid.choose(keys),
  focus: (index, key) => columns[index].grid.focus(key),
  search: (name) => change({ q: name, minus: [], like: "", image: "", item: "", at: "" }),
});
const taught = new TaughtList(find("dialog.lessons"), find(".taught-button"), {
  indexes: () => columns.map((column) => ({ name: column.summary.name, lessons: column.lessons })),
});

/** Changes the state; `minus` of the options are further terms to exclude. */
function change(changes, options = {}) {
  const { minus = [], ...rest } = options;
  const terms = [...new Set([...(changes.minus ?? history_.state.minus), ...minus])];
  history_.go({ ...changes, minus: terms }, rest);
}

function similar(key) {
  change({ q: "", like: key, image: "", item: "", at: "", sort: "" });
  scrollTo(0, 0);
}

/** Names an item of the detail view, which is closed. */
function teachFromDetail(index, key) {
  history_.close();
  detail.hide();
  teach.start(index, key);
}

/** Follows the lessons of an index: shows them, and repeats the search when the encoders have changed. */
function lessonsOf(index) {
  return new Lessons(index, {
    gone,
    changed: () => {
      taught.show();
      if (teach.index === index && !find(".teach").hidden && columns[index].lessons.running) teach.show();
    },
    ended: async (outcome) => {
      if (outcome.undo) taught.ended(outcome);
      else teach.ended(index, outcome);
      if (!outcome.error) await changed(history_.state, history_.state, { first: true, ...view() });
    },
  });
}

/** The next or previous hit in the detail view. */
function step(by) {
  const { item, at } = history_.state;
  const hits = columns[Number(at) || 0].hits;
  const next = hits.findIndex((hit) => hit.key === item) + by;
  if (!hits[next]) return;
  change({ item: hits[next].key }, { replace: true });
  if (next > hits.length - 10) columns[Number(at) || 0].more();
}

async function changed(state, before, restored, typing = false) {
  field.show(state);
  filters.show(state, isStart(state));
  document.body.classList.toggle("start", isStart(state));
  hero.hidden = !isStart(state);
  const title = state.q || (state.like || state.image ? "Similar images" : columns[0]?.summary.name) || "Search";
  document.title = `${title} – search`;
  let searched = true;
  if (searchOf(state) !== searchOf(before) || restored?.first) {
    const counts = restored?.counts ?? [];
    if (!restored) scrollTo(0, 0);
    searched = (
      await Promise.all(columns.map((column, i) => column.search(state, { wanted: counts[i], typing })))
    ).every(Boolean);
    if (searched && restored?.scroll) scrollTo(0, restored.scroll);
    if (searched) announce();
  }
  if (searched) showDetail(before);
}

function showDetail(before) {
  const { item, at } = history_.state;
  if (item) {
    const column = columns[Number(at) || 0] ?? columns[0];
    const hit = column.hits.find((each) => each.key === item) ?? null;
    detail.show(column.index, item, hit, history_.state, column);
  } else if (detail.isOpen) {
    detail.hide();
    columns[Number(before.at) || 0]?.grid.focus(before.item);
  }
}

function announce() {
  const shown = columns.map((column) => `${column.summary.name}: ${plural(column.hits.length, "result")} shown`);
  find(".spoken").textContent = columns.length > 1 ? shown.join("; ") : shown[0].replace(/^.*: /u, "");
}

/** Says that the server is gone, and goes on when it is back. */
async function gone() {
  if (!message.hidden && message.dataset.gone) return;
  message.dataset.gone = "yes";
  tell("The server does not answer.", "Was itembed demo stopped? Start it again, and this page goes on by itself.");
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, RETRY));
    try {
      await get("/api/indexes");
      break;
    } catch (error) {
      if (!(error instanceof ServerGone)) break;
    }
  }
  delete message.dataset.gone;
  message.hidden = true;
  if (columns.length) changed(history_.state, history_.state, { first: true, ...view() });
  else start();
}

function tell(title, text) {
  message.replaceChildren(element("strong", {}, title), ` ${text}`);
  message.hidden = false;
}

async function given(file) {
  document.body.classList.add("sending");
  try {
    const { key } = await sendImage(file);
    change({ q: "", like: "", image: key, item: "", at: "", sort: "" });
    scrollTo(0, 0);
  } catch (error) {
    if (error instanceof ServerGone) gone();
    else {
      tell("This file cannot be searched by.", sentence(error.message));
      setTimeout(() => (message.hidden = !message.dataset.gone), 6000);
    }
  } finally {
    document.body.classList.remove("sending");
  }
}

/** A few short captions of the newest images, to begin with. */
function suggest() {
  const captions = columns[0].hits
    .filter((hit) => hit.captions.length)
    .map(caption)
    .filter((text) => text && text.length < 48);
  const chosen = captions
    .filter((_, i) => i % Math.max(1, Math.floor(captions.length / SUGGESTIONS)) === 0)
    .slice(0, SUGGESTIONS);
  const buttons = chosen.map((text) => {
    const query = text.replace(/\s*\.\s*$/u, "").toLowerCase();
    return element("button.suggestion", { type: "button", click: () => change({ q: query }) }, query);
  });
  const { images, texts } = columns[0].summary;
  const things = [images ? plural(images, "image") : null, texts ? plural(texts, "text") : null].filter(Boolean);
  const what =
    columns.length > 1 ? `Compare ${columns.length} indexes` : `Search ${things.join(" and ") || "an empty index"}`;
  hero.replaceChildren(element("h1", {}, what));
  find(".suggestions").replaceChildren(...buttons);
}

function keys(event) {
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key === "/" && !typing && !detail.isOpen && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    field.input.focus();
    field.input.select();
  } else if (event.key === "Escape" && event.target.closest?.(".tile")) {
    field.input.focus();
  }
}

/** The facets of several indexes, which often have the same images, as one. */
function merged(all) {
  const counts = { folders: new Map(), years: new Map(), kinds: new Map(), splits: new Map() };
  for (const facets of all) {
    for (const [name, values] of Object.entries(counts)) {
      for (const [value, count] of facets[name]) values.set(value, Math.max(count, values.get(value) ?? 0));
    }
  }
  return { folder: [...counts.folders], year: [...counts.years], kind: [...counts.kinds], split: [...counts.splits] };
}

async function start() {
  let summaries;
  try {
    summaries = await get("/api/indexes");
  } catch (error) {
    if (error instanceof ServerGone) return gone();
    return tell("The page cannot start.", sentence(error.message));
  }
  columns = summaries.map((summary, index) => {
    const open = (key) =>
      teach.choosing(index) ? teach.toggle(key) : change({ item: key, at: index ? String(index) : "" });
    const href = (hit) => format({ ...history_.state, item: hit.key, at: index ? String(index) : "" });
    const leave = () => field.input.focus();
    const point = (key, from) => columns.forEach((column) => column !== from && column.grid.mark(key));
    const column = new Column(index, summary, summaries.length === 1, {
      open,
      href,
      leave,
      similar,
      teach: (key) => teach.start(index, key),
      gone,
      point,
      again: change,
    });
    return Object.assign(column, { lessons: lessonsOf(index) });
  });
  find(".columns").replaceChildren(...columns.map((column) => column.section));
  find(".columns").style.setProperty("--columns", columns.length);
  document.body.classList.toggle("several", columns.length > 1);
  find(".attribution").textContent = [...new Set(summaries.map((summary) => summary.attribution))].join(" ");
  const facets = Promise.all(columns.map((column) => get("/api/facets", of(column.index))));
  facets.then(
    (all) => filters.set(merged(all)),
    () => {},
  );
  await changed(history_.state, history_.state, { first: true, ...(history.state ?? {}) });
  suggest();
  for (const column of columns) column.lessons.start();
  document.documentElement.dataset.ready = "yes";
}

let scrolled;
addEventListener("scroll", () => {
  clearTimeout(scrolled);
  scrolled = setTimeout(() => history_.remember(), 120);
});
addEventListener("keydown", keys);
takeImages(find(".drop"), find(".choose input"), given);
start();
