// The loss in JavaScript, in float64, as a second opinion on the loss graph.
//
//     bce of logits      sum of  max(l, 0) - l * x + log(1 + exp(-|l|))
//     bce of probabilities       -x * log(p) - (1 - x) * log(1 - p), p clipped as in Keras
//     mse                        (x - r)^2
//     gaussian                   (x - r)^2 / (2 v) + log(2 pi v) / 2
//     gaussian, two heads        ((x - r)^2 / exp(s) + s + log(2 pi)) / 2
//     kl_loss            -1/2 * sum of  1 + z_log_var - z_mean^2 - exp(z_log_var)
//
// The Python package `vae_runtime.loss` explains them and names their sources.

import { sampleOf } from "../bundle/arrays.js";

export const LOSS_NAMES = ["reconstruction_loss", "kl_loss", "loss"];

const CLIP = Math.fround(1e-7);
const CLIP_HIGH = Math.fround(1 - 1e-7);
export const LEAST = 1e-6;

/** Return mean and scale of an element of a sample: {mean(i), scale(i)}, of x = value. */
export function standardization(input) {
  const { mean, scale } = input.standardization ?? { mean: [0], scale: [1] };
  const of = (numbers) => (i) => Math.fround(numbers[i % numbers.length]);
  return { mean: of(mean), scale: of(scale) };
}

/** Return the values that the loss takes, float64, of one raw sample of the graphs' dtype. */
export function lossValues(manifest, x) {
  const { mean, scale } = standardization(manifest.input);
  const divisor = manifest.input.dtype === "uint8" ? 255 : 1;
  return Float64Array.from(x, (value, i) => (value / divisor - mean(i)) / scale(i));
}

/** Return the decoder's outputs that the loss takes: {first, logVar}, each data of one sample. */
export function lossOutputs(manifest, outputs, row) {
  const first = ["logits", "values", "reconstruction"].find((name) => name in outputs);
  const logVar = manifest.loss.decoder === "mean_log_var" ? sampleOf(outputs.log_var, row) : null;
  return { first: sampleOf(outputs[first], row), logVar };
}

/** Return what each element adds to the reconstruction loss, less its floor if `excess`. */
export function lossTerms(loss, x, { first, logVar }, excess = false) {
  const term = {
    logits: (i) =>
      Math.max(first[i], 0) - first[i] * x[i] + Math.log1p(Math.exp(-Math.abs(first[i]))),
    probabilities: (i) => {
      const p = Math.min(Math.max(first[i], CLIP), CLIP_HIGH);
      return -x[i] * Math.log(p) - (1 - x[i]) * Math.log(Math.fround(1 - p));
    },
    values: (i) => {
      const square = (x[i] - first[i]) ** 2;
      if ((loss.variance ?? null) === null) return square;
      return normalTerm(square, Math.fround(loss.variance), excess);
    },
    mean_log_var: (i) => normalTerm((x[i] - first[i]) ** 2, Math.exp(logVar[i]), excess),
  }[loss.decoder];
  const floor = (value) =>
    -value * Math.log(Math.max(value, LEAST)) - (1 - value) * Math.log(Math.max(1 - value, LEAST));
  const lessens = excess && loss.reconstruction === "bce";
  return Float64Array.from(x, (value, i) => term(i) - (lessens ? floor(value) : 0));
}

function normalTerm(square, variance, excess) {
  const half = square / (2 * variance);
  return excess ? half : half + 0.5 * Math.log(2 * Math.PI * variance);
}

/** Return the squared error of each element. */
export function squaredErrors(loss, x, { first }) {
  const value = loss.decoder === "logits" ? (l) => 0.5 + 0.5 * Math.tanh(0.5 * l) : (r) => r;
  return Float64Array.from(x, (each, i) => (each - value(first[i])) ** 2);
}

/** Return the KL divergence from N(0, 1) of each latent dimension. */
export function klTerms(zMean, zLogVar) {
  return Float64Array.from(
    zMean,
    (mean, i) => -0.5 * (1 + zLogVar[i] - mean * mean - Math.exp(zLogVar[i])),
  );
}

/** Return the sum of numbers. */
export function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}
