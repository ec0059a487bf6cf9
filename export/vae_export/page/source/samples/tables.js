// Rows of tables as samples: numbers, truth values and categories, as the manifest encodes them.

const MISSING = new Set(
  ["", "na", "n/a", "nan", "-nan", "null", "none", "nil", "missing", "?", "-", "--", "."].concat([
    "#n/a",
    "#na",
    "#n/a n/a",
    "<na>",
    "nat",
    "#value!",
    "#div/0!",
    "#null!",
    "(null)",
  ]),
);
const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

/** Return the columns of the table: {name, kind, categories, fill, indicator, elements}. */
export function tableColumns(manifest) {
  const [size] = manifest.input.shape;
  const names = manifest.data?.columns ?? Array.from({ length: size }, (_, i) => `element ${i}`);
  const columns = manifest.data?.table?.columns ?? names.map((name) => ({ name, kind: "number" }));
  return columns.map((column) => {
    const categories = column.categories ?? [];
    const width = column.kind === "category" ? categories.length : 1;
    const elements = width + (column.indicator ? 1 : 0);
    return { fill: [], indicator: false, ...column, categories, width, elements };
  });
}

/**
 * Return a sample from the texts of its cells, one for each column.
 *
 * Throws an Error that names the column whose cell cannot be used.
 */
export function encodeRow(manifest, cells) {
  const unknown = manifest.data?.table?.unknown_category ?? "error";
  const values = tableColumns(manifest).flatMap((column, i) =>
    encodeCell(column, cells[i], unknown),
  );
  return Float32Array.from(values);
}

function encodeCell(column, cell, unknown) {
  const text = (cell ?? "").trim();
  const isMissing = MISSING.has(text.toLowerCase()) && !column.categories.includes(text);
  const indicator = column.indicator ? [isMissing ? 1 : 0] : [];
  if (isMissing) {
    if (column.fill.length === 0) throw new Error(`${column.name} has no value`);
    return [...column.fill, ...indicator];
  }
  if (column.kind === "category") {
    const code = column.categories.findIndex((name) => name === text || sameNumber(name, text));
    if (code < 0 && unknown === "error") {
      throw new Error(`${column.name} is “${text}”, a category that the model does not know`);
    }
    return [...column.categories.map((_, i) => (i === code ? 1 : 0)), ...indicator];
  }
  return [
    column.kind === "boolean" ? truthValue(column, text) : number(column, text),
    ...indicator,
  ];
}

function sameNumber(name, text) {
  return NUMBER.test(name) && NUMBER.test(text) && Number(name) === Number(text);
}

function truthValue(column, text) {
  const value = { true: 1, 1: 1, false: 0, 0: 0 }[text.toLowerCase()];
  if (value === undefined) throw new Error(`${column.name} is “${text}”, expected true or false`);
  return value;
}

function number(column, text) {
  if (!NUMBER.test(text) || !Number.isFinite(Math.fround(Number(text)))) {
    throw new Error(`${column.name} is “${text}”, expected a number`);
  }
  return Number(text);
}

/**
 * Return the texts of the cells of a sample; the opposite of `encodeRow`.
 *
 * With `likely` the sample is a model's guess: the most likely category, numbers of five digits.
 */
export function decodeRow(manifest, x, likely = false) {
  let start = 0;
  return tableColumns(manifest).map((column) => {
    const own = x.subarray(start, start + column.elements);
    start += column.elements;
    if (column.indicator && own[column.width] > 0.5) return "";
    if (column.kind === "number") {
      return likely ? String(Number(own[0].toPrecision(5))) : shortNumber(own[0]);
    }
    if (column.kind === "boolean") return own[0] > 0.5 ? "true" : "false";
    const code = own.subarray(0, column.width).indexOf(Math.max(...own.subarray(0, column.width)));
    return likely || own[code] === 1 ? column.categories[code] : "";
  });
}

/** Return the shortest text that has the same float32 value. */
function shortNumber(value) {
  for (let digits = 1; digits < 10; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === Math.fround(value)) return String(Number(text));
  }
  return String(value);
}

/**
 * Return the cells of the first row of pasted text, one for each column.
 *
 * A first line with the columns' names gives their order; without it they are in the model's order.
 */
export function parseRow(manifest, text) {
  const columns = tableColumns(manifest);
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  const delimiter = ["\t", ";", ","].find((mark) => lines[0]?.includes(mark)) ?? "\t";
  const [first, second] = lines.slice(0, 2).map((line) => cellsOf(line, delimiter));
  const places = columns.map((column) => first?.indexOf(column.name) ?? -1);
  if (second && places.every((place) => place >= 0)) return places.map((place) => second[place]);
  if (first?.length !== columns.length) {
    throw new Error(
      `the pasted row has ${first?.length ?? 0} cells, expected ${columns.length}, or a line with ` +
        "the names of the columns above it",
    );
  }
  return first;
}

/** Return the cells of a line, without quotes, with decimal points. */
function cellsOf(line, delimiter) {
  const cells = [];
  const pattern = new RegExp(`(?:"((?:[^"]|"")*)"|([^${delimiter}]*))(${delimiter}|$)`, "g");
  for (const [, quoted, plain, end] of line.matchAll(pattern)) {
    const text = (quoted?.replaceAll('""', '"') ?? plain).trim();
    cells.push(delimiter !== "," && /^[-+]?\d+,\d+$/.test(text) ? text.replace(",", ".") : text);
    if (end === "") break;
  }
  return cells;
}

/** Return a sample from numbers in a text, in the order of its elements. */
export function parseNumbers(manifest, text) {
  const size = manifest.input.shape.reduce((product, length) => product * length, 1);
  const cells = text.split(/[\s,;]+/).filter(Boolean);
  const bad = cells.find((cell) => !NUMBER.test(cell));
  if (bad !== undefined) throw new Error(`“${bad}” is not a number`);
  if (cells.length !== size) {
    throw new Error(
      `there are ${cells.length} numbers, expected ${manifest.input.shape.join(" × ")}`,
    );
  }
  return (manifest.input.dtype === "uint8" ? Uint8Array : Float32Array).from(cells, Number);
}
