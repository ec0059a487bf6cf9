// One sample: losses, score, p-value, and why it is unusual, as `vae.explain` computes it.
//
//     unusual_i = (e_i - mean_i) / sqrt(std_i^2 + (FLOOR * s)^2),   s^2 = mean over i of std_i^2
//
// with e_i what element i adds to the score, mean_i and std_i over the calibration samples. Of a
// row, a column is as unusual as the surprise that goes away when it alone is repaired.

import { sampleOf, stackRows } from "../bundle/arrays.js";
import { lossOutputs, lossValues, LOSS_NAMES } from "../proof/losses.js";
import { alongAxes, elementTerms, partShares, scoreParts } from "../proof/score.js";
import { kindOf, latentShape } from "./kinds.js";
import { tableColumns } from "./tables.js";

const FLOOR = 0.1;
const LEAST_SPREAD = 1e-12;
const STEPS = 5;
const MAX_REPAIRED = 64;
const BOXES_PER_AXIS = 7;

/**
 * Explain one sample.
 *
 * @param bundle as for `checkParity`, with elementMean and elementStd of the calibration
 * @param x the data of the sample, of the graphs' dtype
 * @param condition the data of its condition; null for models without one
 */
export async function explain(bundle, x, condition) {
  const { manifest, graphs } = bundle;
  const given = conditions(manifest, condition, 1);
  const inputs = { x: stackRows(manifest.input.shape, [x]), ...given };
  const { z_mean: zMean } = await graphs.run("encoder", inputs);
  const eps = stackRows(latentShape(manifest), [new Float32Array(manifest.latent_dim)]);
  const losses = await graphs.run("loss", { ...inputs, eps });
  const decoded = await graphs.run("decoder", { z: zMean, ...given });
  const terms = elementTerms(manifest, lossValues(manifest, x), lossOutputs(manifest, decoded, 0));
  const result = {
    losses: Object.fromEntries(LOSS_NAMES.map((name) => [name, losses[name].data[0]])),
    zMean: zMean.data,
    reconstruction: decoded.reconstruction.data,
    terms,
  };
  return manifest.score ? { ...result, ...(await scored(bundle, inputs, given, terms)) } : result;
}

async function scored(bundle, inputs, given, terms) {
  const { manifest, graphs, novelty } = bundle;
  const outputs = await graphs.run("score", inputs);
  const unusual = await unusualElements(bundle, inputs.x, given, terms);
  const result = { score: outputs.score.data[0], pValue: outputs.p_value.data[0], unusual };
  if (kindOf(manifest) !== "row") result.box = mostUnusualBox(unusual, manifest.input.shape);
  if (!novelty) return result;
  const activations = outputs.activations.data;
  const parts = scoreParts(manifest, novelty, terms, outputs.kl_loss.data[0], activations);
  const nearest = nearestPrototype(manifest, novelty, activations);
  const z = stackRows(latentShape(manifest), [sampleOf(novelty.z_mean, nearest)]);
  const its = novelty.condition
    ? { condition: stackRows(manifest.condition.shape, [sampleOf(novelty.condition, nearest)]) }
    : {};
  const { reconstruction } = await graphs.run("decoder", { z, ...its });
  return {
    ...result,
    parts: partShares(manifest, parts),
    nearest,
    nearestSample: reconstruction.data,
  };
}

/** Return the input `condition` of a number of samples, or no input. */
export function conditions(manifest, condition, count) {
  if (!manifest.condition) return {};
  return { condition: stackRows(manifest.condition.shape, Array(count).fill(condition)) };
}

function spreads({ data }) {
  const meanSquare = data.reduce((total, std) => total + std * std, 0) / data.length;
  const floor = FLOOR * Math.sqrt(meanSquare);
  return Float64Array.from(data, (std) => Math.max(Math.hypot(std, floor), LEAST_SPREAD));
}

async function unusualElements(bundle, x, given, terms) {
  const spread = spreads(bundle.elementStd);
  const unusual = terms.map((term, i) => (term - bundle.elementMean.data[i]) / spread[i]);
  const isRow = kindOf(bundle.manifest) === "row" && bundle.manifest.input.dtype === "float32";
  return isRow ? unusualByRepair(bundle, x, given, terms, unusual, spread) : unusual;
}

/** Add to each column the surprise of the others that goes away when it is repaired. */
async function unusualByRepair({ manifest, graphs }, x, given, terms, unusual, spread) {
  const columns = columnElements(manifest).map((elements) => ({
    elements,
    total: elements.reduce((sum, i) => sum + unusual[i], 0),
  }));
  const candidates = columns.sort((a, b) => b.total - a.total).slice(0, MAX_REPAIRED);
  const inputs = Object.fromEntries(
    Object.entries(given).map(([name, array]) => [
      name,
      stackRows(
        array.shape.slice(1),
        candidates.map(() => sampleOf(array, 0)),
      ),
    ]),
  );
  const repaired = candidates.map(() => x.data.slice());
  let decoded;
  for (let step = 0; step <= STEPS; step++) {
    const batch = { x: stackRows(manifest.input.shape, repaired), ...inputs };
    const { z_mean: z } = await graphs.run("encoder", batch);
    decoded = await graphs.run("decoder", { z, ...inputs });
    if (step === STEPS) break;
    candidates.forEach(({ elements }, row) => {
      const reconstruction = sampleOf(decoded.reconstruction, row);
      for (const i of elements) repaired[row][i] = reconstruction[i];
    });
  }
  const result = unusual.slice();
  candidates.forEach(({ elements }, row) => {
    const values = lossValues(manifest, repaired[row]);
    const now = elementTerms(manifest, values, lossOutputs(manifest, decoded, row));
    let gain = 0;
    terms.forEach((term, i) => {
      if (!elements.includes(i)) gain += (term - now[i]) / spread[i];
    });
    for (const i of elements) result[i] += gain / elements.length;
  });
  return result;
}

/** Return the elements of each column of a row. */
export function columnElements(manifest) {
  let start = 0;
  return tableColumns(manifest).map(({ elements }) => {
    start += elements;
    return Array.from({ length: elements }, (_, i) => start - elements + i);
  });
}

function nearestPrototype(manifest, novelty, activations) {
  const ours = [];
  const scales = [];
  let start = 0;
  for (const [i, { size }] of manifest.score.novelty.activations.entries()) {
    const axes = novelty[`axes_${i + 1}`];
    const own = activations.subarray(start, start + size);
    ours.push(...alongAxes(own, novelty[`center_${i + 1}`].data, axes));
    const variances = novelty[`variances_${i + 1}`].data.subarray(0, axes.shape[1]);
    scales.push(...Array.from(variances, (variance) => 1 / Math.sqrt(variance)));
    start += size;
  }
  let [nearest, least] = [0, Infinity];
  for (let row = 0; row < novelty.coordinates.shape[0]; row++) {
    const theirs = sampleOf(novelty.coordinates, row);
    const distance = ours.reduce(
      (sum, value, j) => sum + ((value - theirs[j]) * scales[j]) ** 2,
      0,
    );
    if (distance < least) [nearest, least] = [row, distance];
  }
  return nearest;
}

/** Return the box of elements with the largest sum: {start, stop, value}. */
export function mostUnusualBox(values, shape) {
  const size = boxSize(shape);
  let [sums, sizes] = [values, shape];
  size.forEach((length, axis) => {
    [sums, sizes] = movingSums(sums, sizes, axis, length);
  });
  let best = 0;
  sums.forEach((value, i) => {
    if (value > sums[best]) best = i;
  });
  const start = [];
  let rest = best;
  for (const length of [...sizes].reverse()) {
    start.unshift(rest % length);
    rest = Math.floor(rest / length);
  }
  return { start, stop: start.map((from, axis) => from + size[axis]), value: sums[best] };
}

function boxSize(shape) {
  const halfEven = (value) => (value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));
  const sides = shape.map((length) => Math.max(1, halfEven(length / BOXES_PER_AXIS)));
  return [...sides.slice(0, -1), shape.length === 2 ? 1 : shape[shape.length - 1]];
}

function movingSums(values, shape, axis, length) {
  const inner = shape.slice(axis + 1).reduce((product, size) => product * size, 1);
  const [before, after] = [shape[axis], shape[axis] - length + 1];
  const outer = values.length / (inner * before);
  const sums = new Float64Array(outer * after * inner);
  for (let i = 0; i < sums.length; i++) {
    const [block, within] = [Math.floor(i / (after * inner)), i % (after * inner)];
    for (let step = 0; step < length; step++) {
      sums[i] += values[block * before * inner + within + step * inner];
    }
  }
  return [sums, shape.with(axis, after)];
}
