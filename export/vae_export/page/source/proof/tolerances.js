// The difference of an output from TensorFlow's values, and the largest that is allowed.

import { elementCount } from "../bundle/npz.js";
import { LOSS_NAMES, standardization } from "./losses.js";

const NEGLIGIBLE_RATIO = 1e-3;

/** Return a function from the place of an element to its allowed difference. */
export function allowedDifference(manifest, output, reference) {
  const { tolerances } = manifest;
  if (output === "score" && manifest.score) {
    return (i) => manifest.score.tolerance * (1 + Math.abs(reference[i]));
  }
  if (LOSS_NAMES.includes(output)) {
    return (i) => tolerances.loss_atol + tolerances.loss_rtol * Math.abs(reference[i]);
  }
  const { unit, offset } = units(manifest, output, reference);
  return (i) =>
    unit(i) * tolerances.tensor_atol +
    tolerances.tensor_rtol * (Math.abs(reference[i]) + Math.abs(offset(i)));
}

/** Return the unit and the offset of an output's values, by the place of an element. */
function units(manifest, output, reference) {
  if (output !== "reconstruction") return { unit: () => 1, offset: () => 0 };
  if (manifest.input.standardization) {
    const size = elementCount(manifest.input.shape);
    const { mean, scale } = standardization(manifest.input);
    return { unit: (i) => scale(i % size), offset: (i) => mean(i % size) };
  }
  const largest = reference.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  return { unit: () => largest, offset: () => 0 };
}

/** Compare values with a reference, both typed arrays. NaN never agrees. */
export function compare(graph, output, value, reference, allowed) {
  const difference = { graph, output, absolute: 0, relative: 0, ofAllowed: 0, agrees: true };
  if (value.length !== reference.length) {
    return {
      ...difference,
      absolute: Infinity,
      relative: Infinity,
      ofAllowed: Infinity,
      agrees: false,
    };
  }
  const largest = reference.reduce((most, each) => Math.max(most, Math.abs(each)), 0);
  for (let i = 0; i < value.length; i++) {
    const size = Math.abs(reference[i]);
    const absolute = Math.abs(value[i] - reference[i]);
    if (absolute === 0) continue;
    difference.absolute = Math.max(difference.absolute, absolute);
    difference.ofAllowed = Math.max(difference.ofAllowed, absolute / allowed(i));
    if (size >= NEGLIGIBLE_RATIO * largest) {
      difference.relative = Math.max(difference.relative, absolute / size);
    }
  }
  return { ...difference, agrees: difference.ofAllowed <= 1 };
}
