// The parity check: does this browser compute what TensorFlow computed?
//
//     encoder      x        -> z_mean, z_log_var
//     decoder      z        -> logits or values (not always), reconstruction
//     loss         x, eps   -> reconstruction_loss, kl_loss, loss, per sample
//     score        x        -> the losses at z = z_mean, score, p_value, activations (not always)
//     prior        log density of z under the mixture, by this page (not always)
//     javascript   z, the losses and the score again, computed by this page from the outputs
//
// A value agrees if |value - reference| <= atol + rtol * |reference|. A p-value is a count, so it
// agrees if it lies between those of the two scores that are still within the tolerance. This is
// the check of `build-vae verify`; the rows mean the same.

import { sampleOf } from "../bundle/arrays.js";
import { batchIndependence } from "./company.js";
import { klTerms, LOSS_NAMES, lossOutputs, lossTerms, lossValues, sum } from "./losses.js";
import { compareDensities } from "./mixture.js";
import { elementTerms, pValue, pValueInterval, scoreOf, scoreParts } from "./score.js";
import { allowedDifference, compare } from "./tolerances.js";

/**
 * Run the parity check of a bundle.
 *
 * @param bundle {manifest, graphs, reference, scores, novelty, mixture}
 * @param onProgress called with the name of each graph before it runs
 * @returns {samples, differences, independence, meanLoss, meanLossReference, passed}
 */
export async function checkParity(bundle, onProgress = () => {}) {
  const { manifest, graphs, reference } = bundle;
  const values = {};
  for (const name of graphs.names) {
    onProgress(name);
    values[name] = await graphs.run(name, inputsOf(manifest, name, reference));
  }
  const atMean = manifest.score
    ? await graphs.run("decoder", { ...reference, z: values.encoder.z_mean })
    : null;
  const differences = graphs.names.flatMap((name) => graphDifferences(bundle, name, values[name]));
  differences.push(...ownDifferences(bundle, values, atMean));
  if (bundle.mixture) differences.push(compareDensities(bundle.mixture, reference.z));
  const independence = [];
  for (const name of graphs.names) {
    onProgress(`${name} in other batches`);
    const inputs = inputsOf(manifest, name, reference);
    independence.push(await batchIndependence(graphs, name, inputs, values[name]));
  }
  const samples = reference.x.shape[0];
  return {
    samples,
    differences,
    independence,
    meanLoss: sum(values.loss.loss.data) / samples,
    meanLossReference: sum(reference.loss.data) / samples,
    passed: [...differences, ...independence].every((difference) => difference.agrees),
  };
}

function inputsOf(manifest, name, reference) {
  const names = manifest.graphs[name].inputs.map((tensor) => tensor.name);
  return Object.fromEntries(names.map((each) => [each, reference[each]]));
}

function graphDifferences({ manifest, reference, scores }, name, outputs) {
  return Object.entries(outputs).map(([output, { data }]) => {
    if (output === "p_value") return comparePValues(manifest, outputs, reference, scores);
    const stored = name === "score" && LOSS_NAMES.includes(output) ? `score_${output}` : output;
    const expected = reference[stored].data;
    return compare(name, output, data, expected, allowedDifference(manifest, output, expected));
  });
}

/** Compare z, the losses and the score with what this page computes by itself. */
function ownDifferences({ manifest, reference, novelty }, values, atMean) {
  const samples = reference.x.shape[0];
  const size = reference.z.data.length / samples;
  const own = { z: new Float64Array(reference.z.data.length) };
  for (const name of LOSS_NAMES) own[name] = new Float64Array(samples);
  if (manifest.score) own.score = new Float64Array(samples);
  for (let row = 0; row < samples; row++) {
    const x = lossValues(manifest, sampleOf(reference.x, row));
    const [mean, logVar] = ["z_mean", "z_log_var"].map((name) =>
      sampleOf(values.encoder[name], row),
    );
    const eps = sampleOf(reference.eps, row);
    own.z.set(
      mean.map((value, i) => value + Math.exp(0.5 * logVar[i]) * eps[i]),
      row * size,
    );
    own.reconstruction_loss[row] = sum(
      lossTerms(manifest.loss, x, lossOutputs(manifest, values.decoder, row)),
    );
    own.kl_loss[row] = sum(klTerms(mean, logVar));
    own.loss[row] = own.reconstruction_loss[row] + manifest.loss.kl_weight * own.kl_loss[row];
    if (manifest.score) own.score[row] = ownScore(manifest, novelty, x, values.score, atMean, row);
  }
  return Object.entries(own).map(([name, value]) => {
    const expected = reference[name].data;
    return compare(
      "javascript",
      name,
      value,
      expected,
      allowedDifference(manifest, name, expected),
    );
  });
}

function ownScore(manifest, novelty, x, outputs, atMean, row) {
  const terms = elementTerms(manifest, x, lossOutputs(manifest, atMean, row));
  const activations = outputs.activations && sampleOf(outputs.activations, row);
  return scoreOf(
    manifest,
    scoreParts(manifest, novelty, terms, outputs.kl_loss.data[row], activations),
  );
}

function comparePValues(manifest, outputs, reference, scores) {
  const { tails } = manifest.score;
  const [found, pValues, expected] = [
    outputs.score.data,
    outputs.p_value.data,
    reference.score.data,
  ];
  const allowed = allowedDifference(manifest, "score", expected);
  const difference = {
    graph: "score",
    output: "p_value",
    absolute: 0,
    relative: 0,
    ofAllowed: 0,
    agrees: true,
  };
  for (let i = 0; i < expected.length; i++) {
    const ends = [expected[i] - allowed(i), expected[i] + allowed(i)].map(Math.fround);
    const [lowest, highest] = pValueInterval(...ends, scores, tails);
    const at = pValue(expected[i], scores, tails);
    const distance = Math.abs(pValues[i] - at);
    const used = found[i] === expected[i] ? 0 : Math.abs(found[i] - expected[i]) / allowed(i);
    difference.absolute = Math.max(difference.absolute, distance);
    difference.relative = Math.max(difference.relative, distance / at);
    if (distance > 0) difference.ofAllowed = Math.max(difference.ofAllowed, used);
    const agrees = lowest <= pValues[i] && pValues[i] <= highest && used <= 1;
    if (!agrees || pValues[i] !== pValue(found[i], scores, tails)) difference.agrees = false;
  }
  return difference.agrees ? difference : { ...difference, ofAllowed: Infinity };
}
