// What the model says of a sample: reconstruction, heat map, losses, p-value and alarms.

import { columnElements } from "../samples/explanation.js";
import { kindOf, reconstructedUnitValues, unitValues } from "../samples/kinds.js";
import { decodeRow, tableColumns } from "../samples/tables.js";
import { byId, element, percent, shown, table } from "./elements.js";
import { lineChart, paintHeat, sampleFigure } from "./pictures.js";

const LEAST_HEAT = 3; // standard deviations at the end of the scale, at least

/** Show the result of `explain` for a sample. */
export function showResult({ manifest }, x, result) {
  const figures = byId("sample-figures");
  figures.classList.toggle("lines", kindOf(manifest) === "series");
  const own = figures.querySelector("figure:has(#input)");
  // The input stays in place: it would lose the focus and the mouse.
  for (const figure of [...figures.children]) if (figure !== own) figure.remove();
  figures.append(...figuresOf(manifest, x, result));
  const hasPlace = result.box && kindOf(manifest) !== "array";
  byId("sample-result").replaceChildren(
    ...(hasPlace ? [boxText(result.box)] : []),
    element("div", { class: "results" }, ...tables(manifest, x, result)),
  );
  if (manifest.score) showVerdict(manifest, result);
}

function figuresOf(manifest, x, result) {
  const kind = kindOf(manifest);
  const captioned = (figure, caption) =>
    element("figure", {}, figure, element("figcaption", {}, caption));
  if (kind === "series") {
    const lines = [
      { data: x, name: "input" },
      { data: result.reconstruction, name: "output" },
    ];
    const chart = lineChart(manifest, lines, "Input and reconstruction", result.unusual ?? null);
    const what = result.unusual ? " Red: unusual positions." : "";
    return [captioned(chart, `Grey: input. Blue: reconstruction.${what}`)];
  }
  if (kind !== "picture" && kind !== "volume") return [];
  const units = reconstructedUnitValues(manifest);
  const show = (data, label) => captioned(sampleFigure(manifest, data, units, label), label);
  return [
    ...(kind === "volume"
      ? [captioned(sampleFigure(manifest, x, unitValues(manifest), "Input"), "Input")]
      : []),
    show(result.reconstruction, "Reconstruction"),
    captioned(...heatMap(manifest, result)),
    ...(result.nearestSample
      ? [show(result.nearestSample, "Nearest training sample, decoded")]
      : []),
  ];
}

function heatMap(manifest, { unusual, terms }) {
  const canvas = element("canvas", { role: "img", id: "heat", "aria-label": "Heat map" });
  const end = paintHeat(canvas, manifest, unusual ?? terms, unusual ? LEAST_HEAT : 0);
  const unit = unusual
    ? "standard deviations of normal samples"
    : "part of the reconstruction loss";
  return [canvas, `What is unusual: black 0, yellow ${shown(Number(end.toPrecision(2)))} ${unit}`];
}

function showVerdict(manifest, { pValue }) {
  const { levels } = manifest.score.calibrations.float32;
  const alarms = levels.filter(({ alpha }) => pValue <= Math.fround(alpha));
  const strictest = alarms.at(-1);
  const share = `About ${percent(pValue)} of normal samples are at least as unusual`;
  const text = strictest
    ? `Unusual: p-value ${shown(pValue)}, an alarm at a false-alarm rate of ${percent(strictest.alpha)}. ${share}.`
    : `Usual: p-value ${shown(pValue)}. ${share}.`;
  const line = byId("p-value");
  line.hidden = false;
  line.textContent = text;
  line.dataset.result = strictest ? "bad" : "good";
  line.dataset.p = pValue;
}

function tables(manifest, x, result) {
  const unit = manifest.loss.reconstruction === "mse" ? "squared error" : "nats";
  const losses = Object.entries(result.losses).map(([name, value]) => [name, exact(name, value)]);
  const found = [table(`Loss at z = z_mean, ${unit}`, ["Part", "Value"], losses)];
  if (manifest.score) found.push(alarmTable(manifest, result));
  if (result.parts) found.push(partTable(result.parts));
  if (kindOf(manifest) === "row") found.push(columnTable(manifest, x, result));
  return found;
}

function exact(name, value) {
  const text = shown(Number(value.toPrecision(7)));
  return element("td", { class: "number", "data-loss": name, "data-value": value }, text);
}

function alarmTable(manifest, { score, pValue }) {
  const { levels } = manifest.score.calibrations.float32;
  const rows = levels.map(({ alpha, upper, lower }) => {
    const isAlarm = pValue <= Math.fround(alpha);
    const where =
      lower === null ? `above ${shown(upper)}` : `below ${shown(lower)}, above ${shown(upper)}`;
    const result = element(
      "td",
      { class: isAlarm ? "bad" : "good" },
      isAlarm ? "alarm" : "no alarm",
    );
    return [percent(alpha), where, result];
  });
  const caption = `Score “${manifest.score.name}”: ${shown(score)}`;
  return table(caption, ["False-alarm rate", "Alarm if", "This sample"], rows);
}

function partTable(parts) {
  const rows = parts.map(({ name, value, u, share }) => [
    name,
    value,
    Number(u.toPrecision(3)),
    percent(share),
  ]);
  return table("Parts of the score", ["Part", "Value", "Deviations above usual", "Share"], rows);
}

function columnTable(manifest, x, { reconstruction, unusual, terms }) {
  const heat = unusual ?? terms;
  const [cells, expected] = [decodeRow(manifest, x), decodeRow(manifest, reconstruction, true)];
  const elements = columnElements(manifest);
  const columns = tableColumns(manifest).map(({ name }, i) => ({
    name,
    cells: [cells[i] || "missing", expected[i]],
    heat: elements[i].reduce((sum, at) => sum + heat[at], 0),
  }));
  const most = Math.max(...columns.map((column) => column.heat), unusual ? LEAST_HEAT : 0);
  columns.sort((a, b) => b.heat - a.heat);
  const rows = columns.map(({ name, cells: texts, heat: value }) => {
    const label = `${name}: ${shown(Number(value.toPrecision(3)))}`;
    const bar = element("meter", {
      min: 0,
      max: most,
      value: Math.max(value, 0),
      "aria-label": label,
    });
    return [name, ...texts.map((text) => element("td", { class: "number" }, text)), bar];
  });
  const unit = unusual ? "standard deviations" : "part of the loss";
  return table(
    `Columns, the most unusual first (${unit})`,
    ["Column", "Value", "Reconstruction", "Unusual"],
    rows,
  );
}

function boxText({ start, stop, value }) {
  const axes = {
    2: ["position", "channel"],
    3: ["row", "column"],
    4: ["slice", "row", "column"],
  }[start.length];
  const places = axes
    .map((name, i) => {
      const last = stop[i] - 1;
      return last === start[i] ? `${name} ${last}` : `${name} ${start[i]} to ${last}`;
    })
    .join(", ");
  const text = `Most unusual: ${places} (sum ${shown(Number(value.toPrecision(3)))}).`;
  return element("p", {}, text);
}
