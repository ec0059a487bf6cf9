// Samples on the page: pictures and heat maps on a canvas, series as lines, rows as tables.

import { kindOf } from "../samples/kinds.js";
import { decodeRow, tableColumns } from "../samples/tables.js";
import { drawing, element } from "./elements.js";

const INFERNO = [
  [0, 0, 4],
  [65, 10, 103],
  [147, 38, 103],
  [221, 81, 58],
  [252, 165, 10],
  [252, 255, 164],
];
const CLIPPED = 0.005;
const CHART = { width: 640, height: 200 };

/** Return an element that shows a sample; `label` describes it to a screen reader. */
export function sampleFigure(manifest, data, unitValues, label) {
  const kind = kindOf(manifest);
  if (kind === "series") return lineChart(manifest, [{ data, name: "output" }], label);
  if (kind === "row") return rowTable(manifest, data, label);
  if (kind === "array") return element("p", {}, `${label}: ${data.length} numbers`);
  const canvas = element("canvas", { role: "img", "aria-label": label });
  paint(canvas, manifest, data, unitValues);
  return canvas;
}

/** Paint a picture or a volume onto a canvas. */
export function paint(canvas, manifest, data, [black, white]) {
  const grid = gridOf(manifest.input.shape);
  paintCells(canvas, grid, (at) => {
    const grey = (i) => (255 * (data[at + i] - black)) / (white - black);
    return grid.channels === 3 ? [grey(0), grey(1), grey(2)] : [grey(0), grey(0), grey(0)];
  });
}

/** Paint how unusual each element is, summed over channels; return the end of the scale. */
export function paintHeat(canvas, manifest, unusual, least) {
  const grid = gridOf(manifest.input.shape);
  const heat = new Float64Array(unusual.length / grid.channels);
  unusual.forEach((value, i) => {
    heat[Math.floor(i / grid.channels)] += value;
  });
  const sorted = heat.slice().sort();
  const end = Math.max(sorted[Math.floor((sorted.length - 1) * (1 - CLIPPED))], least);
  paintCells(canvas, grid, (at) => inferno(heat[at / grid.channels] / end));
  return end;
}

/** Return how the slices of a volume, or the one of a picture, are laid out. */
function gridOf(shape) {
  const [depth, height, width, channels] = shape.length === 4 ? shape : [1, ...shape];
  const columns = Math.ceil(Math.sqrt(depth));
  return { depth, height, width, channels, columns, rows: Math.ceil(depth / columns) };
}

function paintCells(canvas, { depth, height, width, channels, columns, rows }, colour) {
  canvas.width = columns * width;
  canvas.height = rows * height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let cell = 0; cell < depth * height * width; cell++) {
    const [slice, within] = [Math.floor(cell / (height * width)), cell % (height * width)];
    const row = Math.floor(slice / columns) * height + Math.floor(within / width);
    const column = (slice % columns) * width + (within % width);
    image.data.set([...colour(cell * channels), 255], 4 * (row * canvas.width + column));
  }
  context.putImageData(image, 0, 0);
}

/** Return the colour of a number from 0 to 1, from black over red to yellow. */
function inferno(value) {
  const place = Math.min(Math.max(value || 0, 0), 1) * (INFERNO.length - 1);
  const low = Math.min(Math.floor(place), INFERNO.length - 2);
  return INFERNO[low].map((from, i) => from + (place - low) * (INFERNO[low + 1][i] - from));
}

/** Return a chart of series, one line for each channel; `heat` marks unusual positions. */
export function lineChart(manifest, lines, label, heat = null) {
  const [length, channels] = manifest.input.shape;
  const values = lines.flatMap(({ data }) => [...data]).filter(Number.isFinite);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (i) => (CHART.width * i) / Math.max(1, length - 1);
  const y = (value) => CHART.height * (1 - (0.05 + (0.9 * (value - low)) / (high - low || 1)));
  const positions = Array.from({ length }, (_, i) => i);
  const paths = lines.flatMap(({ data, name }) =>
    Array.from({ length: channels }, (_, channel) => {
      const points = positions.map((i) => `${x(i)},${y(data[i * channels + channel])}`);
      return drawing("path", { class: name, d: `M${points.join("L")}` });
    }),
  );
  const marks = heat === null ? [] : heatMarks(heat, length, channels);
  const size = { viewBox: `0 0 ${CHART.width} ${CHART.height}`, preserveAspectRatio: "none" };
  return drawing("svg", { role: "img", "aria-label": label, ...size }, ...marks, ...paths);
}

function heatMarks(heat, length, channels) {
  const sums = Array.from({ length }, (_, i) =>
    heat.slice(i * channels, (i + 1) * channels).reduce((sum, value) => sum + value, 0),
  );
  const end = Math.max(...sums, 3);
  const width = CHART.width / length;
  return sums.map((value, i) =>
    drawing("rect", {
      class: "heat",
      x: i * width,
      y: 0,
      width,
      height: CHART.height,
      opacity: 0.6 * Math.min(Math.max(value / end, 0), 1),
    }),
  );
}

/** Return a table of a row's cells. */
function rowTable(manifest, data, label) {
  const cells = decodeRow(manifest, data, true);
  const rows = tableColumns(manifest).map(({ name }, i) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      element("td", { class: "number" }, cells[i]),
    ),
  );
  return element("table", {}, element("caption", {}, label), element("tbody", {}, ...rows));
}
