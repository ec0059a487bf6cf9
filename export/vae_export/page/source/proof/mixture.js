// The mixture prior: p(z) = sum of weight_k N(z; mean_k, scale_k scale_k^T), as `vae_runtime.prior`.
//
// `scales` are lower Cholesky factors (K, L, L), or standard deviations (K, L).

import { sampleOf } from "../bundle/arrays.js";
import { compare } from "./tolerances.js";

const RTOL = 1e-5;

/** Compare log densities of z with those that scikit-learn computed when the mixture was fitted. */
export function compareDensities(mixture, z) {
  const expected = mixture.log_density.data;
  const found = Float32Array.from(expected, (_, row) => logDensity(mixture, sampleOf(z, row)));
  const allowed = (i) => RTOL * (1 + Math.abs(expected[i]));
  return compare("prior", "log_density", found, expected, allowed);
}

/** Return log p(z) in nats. */
function logDensity(mixture, z) {
  const parts = Array.from(mixture.weights.data, (weight, k) => {
    const mean = sampleOf(mixture.means, k);
    const units = solve(
      mixture,
      k,
      z.map((value, i) => value - mean[i]),
    );
    const squares = units.reduce((sum, unit) => sum + unit * unit, 0);
    const logScale = units.reduce((sum, _, i) => sum + Math.log(scale(mixture, k, i, i)), 0);
    return Math.log(weight) - 0.5 * squares - logScale;
  });
  const largest = Math.max(...parts);
  const total = parts.reduce((sum, part) => sum + Math.exp(part - largest), 0);
  return largest + Math.log(total) - 0.5 * z.length * Math.log(2 * Math.PI);
}

/** Return the units that a scale turns into centred values, by forward substitution. */
function solve(mixture, k, centred) {
  const units = new Float64Array(centred.length);
  for (let i = 0; i < units.length; i++) {
    let rest = centred[i];
    for (let j = 0; j < i; j++) rest -= scale(mixture, k, i, j) * units[j];
    units[i] = rest / scale(mixture, k, i, i);
  }
  return units;
}

/** Return one number of a lower triangular scale; a diagonal one has only its diagonal. */
function scale({ scales }, k, i, j) {
  const [, length] = scales.shape;
  if (scales.shape.length === 3) return scales.data[(k * length + i) * length + j];
  return i === j ? scales.data[k * length + i] : 0;
}

/** Draw z, from numbers of N(0, 1) and one from 0 to 1 that chooses the component. */
export function drawFrom(mixture, eps, chance) {
  const weights = mixture.weights.data;
  let rest = chance * weights.reduce((sum, weight) => sum + weight, 0);
  let k = 0;
  while (k < weights.length - 1 && rest >= weights[k]) rest -= weights[k++];
  const mean = sampleOf(mixture.means, k);
  return Float32Array.from(eps, (_, i) => {
    let value = mean[i];
    for (let j = 0; j <= i; j++) value += scale(mixture, k, i, j) * eps[j];
    return value;
  });
}
