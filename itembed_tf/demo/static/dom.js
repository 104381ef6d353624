// Elements without markup in strings: text is always set as text, so a caption cannot bring markup along.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element.
 * @param {string} tag such as "div" or "div.class.other"
 * @param {object} attributes by name; functions become listeners, null and false are left out
 * @param {...(Node|string|null)} children
 */
export function element(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = document.createElement(name);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(key, value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** An icon of 24 by 24 units, drawn by one path. */
export function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

export const ICONS = {
  close: "m7 7 10 10M17 7 7 17",
  left: "m14.5 6-6 6 6 6",
  right: "m9.5 6 6 6-6 6",
  similar:
    "M4 7.5A3.5 3.5 0 0 1 7.5 4h5A3.5 3.5 0 0 1 16 7.5v5a3.5 3.5 0 0 1-3.5 3.5h-5A3.5 3.5 0 0 1 4 12.5z" +
    "M9 20h7.5a3.5 3.5 0 0 0 3.5-3.5V9",
  open: "M13 5h6v6m0-6-8.5 8.5M10 6H7a2 2 0 0 0-2 2v9a2 2 0 0 0 2 2h9a2 2 0 0 0 2-2v-3",
  teach: "M4 5.5h8l8 8-6.5 6.5-8-8zM8 9.5v.01M12.5 12.5l3 3",
  filter: "M4 7h16M7 12h10m-7 5h4",
};

/** 12345 as "12,345". */
export const count = (number) => number.toLocaleString("en");

/** "1 image", "2 images". */
export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

/** An ISO date as "31 Jul 2024"; "" for none. */
export function day(iso) {
  const date = iso ? new Date(iso.length > 10 ? iso : `${iso}T00:00`) : null;
  if (!date || Number.isNaN(date.valueOf())) return iso ?? "";
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}
