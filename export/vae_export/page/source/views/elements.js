// Elements of the page. Text is always set as text, so names from the manifest are never parsed.

const SVG = "http://www.w3.org/2000/svg";

/** Return a new element. Attributes that start with "on" are listeners; `true` stands for "". */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Return a new element of a drawing. */
export function drawing(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined)
      node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Return the element with an id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Return a table row; the first cell is its heading, numbers stand right. */
export function tableRow(cells) {
  return element(
    "tr",
    {},
    ...cells.map((cell, i) => {
      if (cell instanceof HTMLTableCellElement) return cell;
      if (i === 0) return element("th", { scope: "row" }, cell);
      return element("td", { class: typeof cell === "number" ? "number" : null }, shown(cell));
    }),
  );
}

/** Return a table. */
export function table(caption, headings, rows) {
  const heads = headings.map((heading) => element("th", { scope: "col" }, heading));
  return element(
    "table",
    {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...rows.map(tableRow)),
  );
}

/** Return a place for wide content, which the keyboard can scroll. */
export function scrollable(label, content) {
  return element(
    "div",
    { class: "scroll", role: "region", "aria-label": label, tabindex: 0 },
    content,
  );
}

/** Say whether a section of the page is computing. */
export function setBusy(id, isBusy) {
  byId(id).setAttribute("aria-busy", isBusy);
}

/** Return a number or a node as it is shown. */
export function shown(value) {
  if (typeof value !== "number") return value;
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6))
    return value.toExponential(2);
  return String(Number(value.toPrecision(5)));
}

/** Return a share as a percentage. */
export function percent(share) {
  return `${Number((100 * share).toPrecision(3))}\u00a0%`;
}

/** Return a shape, such as "28 × 28 × 1". */
export function shapeText(shape) {
  return shape.join(" × ");
}
