// The same samples in other batches: an output must not depend on the samples beside it.
//
// Some reference samples, and two that lie halfway to another one, run alone, and in a batch with
// strangers, 100 times as far out as reference samples. Two values that both agree with
// TensorFlow's lie at most two tolerances apart; more is a dependence.

import { concatenate, sampleOf, stackRows, takeRows } from "../bundle/arrays.js";
import { allowedDifference, compare } from "./tolerances.js";

const SAMPLES = 6;
const STRANGERS = 4;
const DISTANCE = 100;
const LARGEST = 3.4028234663852886e38;

/** Run a graph on samples in other batches; return the output that changes most. */
export async function batchIndependence(graphs, name, inputs, outputs) {
  const { rows, samples, strangers } = companies(inputs, graphs.manifest.input);
  const count = rows.length + 2;
  const reversed = (array) => takeRows(array, [...Array(array.shape[0]).keys()].reverse());
  const batch = mapValues(samples, (array, input) =>
    concatenate([strangers[input], reversed(array)]),
  );
  const company = await graphs.run(name, batch);
  const alone = [];
  for (let i = 0; i < count; i++) {
    alone.push(
      await graphs.run(
        name,
        mapValues(samples, (array) => takeRows(array, [i])),
      ),
    );
  }
  let worst = null;
  for (const output of Object.keys(company).filter((each) => each !== "p_value")) {
    const values = takeRows(reversed(company[output]), [...Array(count).keys()]);
    const last = takeRows(values, [count - 2, count - 1]);
    const expected = concatenate([takeRows(outputs[output], rows), last]);
    const found = concatenate([concatenate(alone.map((each) => each[output])), values]);
    const difference = compareFinite(
      graphs.manifest,
      name,
      output,
      found,
      concatenate([expected, expected]),
    );
    if (worst === null || !(difference.ofAllowed <= worst.ofAllowed)) worst = difference;
  }
  return { ...worst, graph: name };
}

function compareFinite(manifest, name, output, found, expected) {
  const [value, reference] = [found, expected].map(({ data }) => data.map(finite));
  const allowed = allowedDifference(manifest, output, reference);
  return compare(name, output, value, reference, (i) => 2 * allowed(i));
}

/** Replace values that are not finite by large ones, which equal themselves. */
function finite(value) {
  if (Number.isNaN(value)) return LARGEST;
  return Math.min(Math.max(value, -LARGEST), LARGEST);
}

function companies(inputs, spec) {
  const total = Object.values(inputs)[0].shape[0];
  const extremes = [...Array(total).keys()].slice(-3);
  const wanted = Math.max(0, Math.min(SAMPLES, total) - 3);
  const places = Array.from({ length: wanted }, (_, i) =>
    Math.trunc(wanted === 1 ? 0 : (i * (total - 4)) / (wanted - 1)),
  );
  const rows = [...new Set(places)].filter((row) => row >= 0).concat(extremes);
  const samples = {};
  const strangers = {};
  for (const [name, array] of Object.entries(inputs)) {
    const bounds = boundsOf(name, spec);
    const move = (row, factor) => moved(array, row, extremes[0], factor, bounds);
    const halves = [rows[0], rows[rows.length - 1]].map((row) => move(row, 0.5));
    const shape = array.shape.slice(1);
    samples[name] = concatenate([takeRows(array, rows), stackRows(shape, halves)]);
    strangers[name] = stackRows(
      shape,
      rows.slice(-STRANGERS).map((row) => move(row, DISTANCE)),
    );
  }
  return { rows, samples, strangers };
}

function boundsOf(name, spec) {
  if (name !== "x") return [-LARGEST, LARGEST];
  return spec.dtype === "uint8" ? [0, 255] : (spec.range ?? [-LARGEST, LARGEST]);
}

/** Return a sample moved to `factor` times its distance from another one, within bounds. */
function moved(array, row, origin, factor, [low, high]) {
  const [from, to] = [origin, row].map((each) => sampleOf(array, each));
  const far = (value, i) => Math.min(Math.max(from[i] + factor * (value - from[i]), low), high);
  const round = array.data instanceof Uint8Array ? Math.round : (value) => value;
  return to.map((value, i) => round(far(value, i)));
}

function mapValues(object, change) {
  return Object.fromEntries(
    Object.entries(object).map(([name, value]) => [name, change(value, name)]),
  );
}
