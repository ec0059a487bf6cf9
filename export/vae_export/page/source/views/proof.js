// The section "Proof": the table that `build-vae verify` prints.

import { checkDigests } from "../bundle/digests.js";
import { checkParity } from "../proof/parity.js";
import { byId, element, percent, tableRow } from "./elements.js";

/** Run the proof and show it; the result is that of `checkParity`. */
export async function showProof(bundle, facts) {
  const start = performance.now();
  const { verdict, again } = { verdict: byId("verdict"), again: byId("again") };
  again.disabled = true;
  delete verdict.dataset.result;
  const digests = await checkDigests(facts, bundle.files, bundle.manifest);
  showDigests(digests, facts.sha256);
  const report = await checkParity(bundle, (graph) => {
    verdict.textContent = `Running ${graph}…`;
  });
  const passed = report.passed && digests.faults.length === 0;
  byId("proof-table").tBodies[0].replaceChildren(
    ...report.differences.map((difference) => row(difference, difference.output, "DIFFERS")),
    ...report.independence.map((difference) => row(difference, "in other batches", "DEPENDS")),
  );
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  verdict.textContent = `${passed ? "PASSED" : "FAILED"}: ${report.samples} samples in ${seconds} s`;
  verdict.dataset.result = passed ? "good" : "bad";
  if (!passed) verdict.append(`. ${reason(report, digests)}`);
  byId("mean-loss").textContent =
    `Mean loss ${report.meanLoss.toFixed(6)} here, ${report.meanLossReference.toFixed(6)} by ` +
    `${tensorflow(bundle.manifest)}, difference ${signed(report.meanLoss - report.meanLossReference)}.`;
  again.disabled = false;
  return { ...report, passed };
}

function row({ graph, output, absolute, relative, ofAllowed, agrees }, shownAs, fault) {
  const number = (text) => element("td", { class: "number" }, text);
  const result = element("td", { class: agrees ? "good" : "bad" }, agrees ? "ok" : fault);
  const cells = [
    graph,
    shownAs,
    number(absolute.toExponential(2)),
    number(relative.toExponential(2)),
    number(Number.isFinite(ofAllowed) ? `${(100 * ofAllowed).toFixed(1)}\u00a0%` : "∞"),
    result,
  ];
  const line = tableRow(cells);
  line.title =
    shownAs === output ? "" : `largest change: ${output}, ${percent(ofAllowed)} of allowed`;
  return line;
}

function showDigests({ checked, faults }, sha256) {
  const text =
    checked === null
      ? "This browser computes no digests here, so the files were not compared with the manifest. Digest of the bundle: "
      : faults.length > 0
        ? `Files differ from the manifest: ${faults.join("; ")}. Digest of the bundle: `
        : `All ${checked} files have the SHA-256 that the manifest states. Digest of the bundle: `;
  byId("digests").replaceChildren(text, element("code", {}, sha256));
  byId("digests").className = faults.length > 0 ? "bad" : "";
}

function reason(report, digests) {
  if (digests.faults.length > 0) return "A file of the bundle was changed.";
  return report.differences.every(({ agrees }) => agrees)
    ? "An output depends on the samples beside it: do not use this bundle."
    : "An output that differs is computed in another way than in TensorFlow: export the bundle again.";
}

/** Return the name of the engine that made the reference values. */
export function tensorflow(manifest) {
  return `TensorFlow ${manifest.versions.tensorflow ?? ""}`.trim();
}

function signed(number) {
  return (number < 0 ? "" : "+") + number.toExponential(1);
}
