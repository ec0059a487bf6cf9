// The anomaly score and its p-value in JavaScript, as `vae_runtime.decision` defines them.
//
//     distance   |P^T c / sqrt(lambda)|^2 + |c - P P^T c|^2 / s2, c = h - center
//     g(part)    softplus(2 u)^2 / 8 with u = (log(part) - mean) / std
//     p(s)       (1 + #{calibration scores >= s}) / (n + 1)

import { LEAST, lossTerms, squaredErrors, sum } from "./losses.js";

/** Return the name of the part of the score that the decoder gives; null for "novelty". */
export function fitPart(manifest) {
  const { name } = manifest.score;
  if (name === "combined") {
    return manifest.loss.reconstruction === "bce" ? "squared_error" : "excess_loss";
  }
  return name === "novelty" ? null : name;
}

/** Return what each element adds to that part, float64; for novelty its squared error. */
export function elementTerms(manifest, x, outputs) {
  const part = manifest.score ? (fitPart(manifest) ?? "squared_error") : "loss";
  if (part === "squared_error") return squaredErrors(manifest.loss, x, outputs);
  return lossTerms(manifest.loss, x, outputs, part === "excess_loss");
}

/** Return the parts of the score by name, of one sample. */
export function scoreParts(manifest, novelty, terms, klLoss, activations) {
  const parts = {};
  const fit = fitPart(manifest);
  if (fit !== null) {
    const kl = fit === "squared_error" ? 0 : manifest.loss.kl_weight * klLoss;
    parts[fit] = sum(terms) + kl;
  }
  let start = 0;
  for (const [i, { size }] of (manifest.score.novelty?.activations ?? []).entries()) {
    const own = activations.subarray(start, start + size);
    parts[`novelty_${i + 1}`] = distance(own, novelty, i + 1);
    start += size;
  }
  return parts;
}

/** Return value, standard deviations above the mean, and share of the score, of each part. */
export function partShares(manifest, parts) {
  const surprises = Object.entries(manifest.score.parts).map(([name, { mean, std }]) => {
    const u = (Math.log(Math.max(parts[name], LEAST)) - mean) / std;
    return { name, value: parts[name], u, surprise: surprise(u) };
  });
  const total = sum(surprises.map((part) => part.surprise)) || 1;
  return surprises.map((part) => ({ ...part, share: part.surprise / total }));
}

/** Return the score of one sample from its parts. */
export function scoreOf(manifest, parts) {
  if (Object.keys(manifest.score.parts).length === 0) return parts[fitPart(manifest)];
  return sum(partShares(manifest, parts).map((part) => part.surprise));
}

function surprise(u) {
  const twice = 2 * u;
  const softplus = Math.max(twice, 0) + Math.log1p(Math.exp(-Math.abs(twice)));
  return softplus ** 2 / 8;
}

function distance(activations, novelty, number) {
  const center = novelty[`center_${number}`].data;
  const axes = novelty[`axes_${number}`];
  const variances = novelty[`variances_${number}`].data;
  const count = axes.shape[1];
  const along = alongAxes(activations, center, axes);
  let rest = 0;
  for (let i = 0; i < center.length; i++) {
    let projected = 0;
    for (let j = 0; j < count; j++) projected += axes.data[i * count + j] * along[j];
    rest += (activations[i] - center[i] - projected) ** 2;
  }
  return sum(along.map((value, j) => value ** 2 / variances[j])) + rest / variances[count];
}

/** Return the coordinates of activations along the principal axes. */
export function alongAxes(activations, center, axes) {
  const [, count] = axes.shape;
  const along = new Float64Array(count);
  for (let i = 0; i < center.length; i++) {
    const centered = activations[i] - center[i];
    for (let j = 0; j < count; j++) along[j] += axes.data[i * count + j] * centered;
  }
  return along;
}

/** Return the p-value of a float32 score, bit for bit that of the graph. */
export function pValue(score, calibration, tails) {
  const n = calibration.length;
  const upper = Math.fround((1 + n - position(score, calibration, false)) / (n + 1));
  if (tails === "upper") return upper;
  const lower = Math.fround((1 + position(score, calibration, true)) / (n + 1));
  return Math.min(2 * Math.min(upper, lower), 1);
}

/** Return the smallest and the largest p-value of the scores between two scores. */
export function pValueInterval(low, high, calibration, tails) {
  const [atLow, atHigh] = [low, high].map((score) => pValue(score, calibration, tails));
  if (tails === "upper") return [atHigh, atLow];
  const middle = calibration[Math.floor((calibration.length - 1) / 2)];
  const nearest = Math.min(Math.max(middle, low), high);
  return [Math.min(atLow, atHigh), pValue(nearest, calibration, tails)];
}

/** Return how many calibration scores are below a score, or with `right` at most as large. */
function position(score, calibration, right) {
  if (Number.isNaN(score)) return calibration.length;
  let [low, high] = [0, calibration.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const before = right ? calibration[middle] <= score : calibration[middle] < score;
    if (before) low = middle + 1;
    else high = middle;
  }
  return low;
}
