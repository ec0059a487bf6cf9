// The section "Model card": what the model is, how it was trained, its thresholds and its origin.

import { byId, element, percent, scrollable, shapeText, shown, table } from "./elements.js";
import { tensorflow } from "./proof.js";

const FIGURE = /^!\[([^\]]*)\]\(([^)]+)\)\n\n?(.*)$/gm;

/** Show the card. */
export function showCard(manifest, facts, files) {
  document.title = manifest.name;
  byId("summary").textContent =
    `A variational autoencoder for samples of shape ${shapeText(manifest.input.shape)}, ` +
    `with ${manifest.latent_dim} latent dimensions.`;
  byId("card-content").replaceChildren(
    factList(manifest, facts),
    ...(manifest.training ? [lossTable(manifest.training)] : []),
    ...(manifest.score ? scoreSection(manifest.score) : []),
    gallery(files),
    details("Files in this page", fileTable(manifest, files)),
    details("Manifest", element("pre", {}, new TextDecoder().decode(files.get("manifest.json")))),
    details(
      `Licence of onnxruntime-web ${facts.onnxruntimeWeb.version}`,
      element("pre", {}, facts.onnxruntimeWeb.license),
    ),
  );
  byId("made").textContent =
    `Made by build-vae. Computes with onnxruntime-web ${facts.onnxruntimeWeb.version}: ` +
    `WebAssembly, one thread${untested(facts.onnxruntimeWeb)}. © Microsoft Corporation, MIT licence.`;
}

function untested({ version, tested }) {
  return version === tested ? "" : ` (pages were tested with ${tested}; look at the proof)`;
}

function factList(manifest, facts) {
  const entries = Object.entries({
    Name: manifest.name,
    Created: manifest.created,
    Digest: element("span", { class: "digest" }, facts.sha256),
    Signature: signatureText(facts.signature),
    Input: inputText(manifest),
    Loss: lossText(manifest.loss),
    Condition: conditionText(manifest.condition),
    Prior: priorText(manifest.prior),
    Proof: `${manifest.parity.samples} samples, values by ${tensorflow(manifest)}`,
    Data: dataText(manifest.data),
    Training: trainingText(manifest.training),
    "Packed from": manifest.packed_from,
    "Made with": Object.entries(manifest.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", "),
  }).filter(([, value]) => value);
  return element(
    "dl",
    { class: "facts" },
    ...entries.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
  );
}

function signatureText(signature) {
  if (!signature) return "No signature was checked when this page was made.";
  return (
    `A signature by the owner of ${signature.key} (SHA-256 ${signature.key_sha256}) was checked ` +
    "when this page was made."
  );
}

function inputText({ input }) {
  const range = input.range ? `${input.range[0]} to ${input.range[1]}` : "any finite value";
  const standardized = input.standardization ? ", standardized in the graphs" : "";
  return `${shapeText(input.shape)}, ${input.dtype}, ${range}${standardized}`;
}

function lossText({ reconstruction, decoder, kl_weight: weight, variance }) {
  const spread = variance ? `, variance ${shown(variance)}` : "";
  return `${reconstruction} of ${decoder}${spread}, plus ${shown(weight)} times the KL divergence; sum over elements, mean over samples`;
}

function conditionText(condition) {
  if (!condition) return null;
  return condition.categories
    ? `one of ${condition.categories.join(", ")}`
    : `numbers, ${shapeText(condition.shape)}`;
}

function priorText(prior) {
  return prior && `N(0, I), or a mixture of ${prior.components} normal distributions`;
}

function dataText(data) {
  return (
    data &&
    `${data.name}: ${data.train} training, ${data.validation} validation, ${data.test} test samples; SHA-256 ${data.sha256}`
  );
}

function trainingText(training) {
  if (!training) return null;
  const options = Object.entries(training.options)
    .filter(([name, value]) => value || name === "seed")
    .map(([name, value]) => `${name} ${value}`);
  return `${options.join(", ")}; ${training.parameters} weights, ${Math.round(training.seconds)} s; ${training.latents.active_units} active dimensions`;
}

function lossTable({ validation, test }) {
  const row = (name, losses) => [name, losses.reconstruction_loss, losses.kl_loss, losses.loss];
  return table(
    "Mean losses, one z for each sample",
    ["Samples", "Reconstruction", "KL", "Loss"],
    [row("validation", validation), row("test", test)],
  );
}

function scoreSection(score) {
  const calibration = score.calibrations.float32;
  const rows = calibration.levels.map(({ alpha, upper, lower, rate, found }) => [
    percent(alpha),
    lower === null ? `above ${shown(upper)}` : `below ${shown(lower)}, above ${shown(upper)}`,
    `${percent(rate[0])} to ${percent(rate[1])}`,
    found === null ? "not measured" : percent(found),
  ]);
  const headings = [
    "False-alarm rate",
    "Alarm if the score is",
    "Rate of 95 % of calibrations",
    "Found",
  ];
  return [
    element("h3", {}, "Anomaly score"),
    element(
      "p",
      {},
      `“${score.name}”, calibrated with ${calibration.samples} samples (${score.data}), checked on ` +
        `${calibration.checked} others. The smallest p-value is ${shown(calibration.smallest_p_value)}.`,
    ),
    scrollable("Thresholds", table("Thresholds", headings, rows)),
  ];
}

/** Show the figures of the bundle's own card, with its captions. */
function gallery(files) {
  const readme = files.has("README.md") ? new TextDecoder().decode(files.get("README.md")) : "";
  const figures = [...readme.matchAll(FIGURE)].filter(([, , path]) => files.has(path));
  return element(
    "div",
    { class: "gallery" },
    ...figures.map(([, alt, path, caption]) => {
      const src = URL.createObjectURL(new Blob([files.get(path)], { type: "image/png" }));
      return element(
        "figure",
        {},
        element("img", { src, alt }),
        element("figcaption", {}, caption.replaceAll("`", "")),
      );
    }),
  );
}

function fileTable(manifest, files) {
  const rows = [...files].map(([name, bytes]) => [
    name,
    bytes.length.toLocaleString("en"),
    element(
      "span",
      { class: "digest" },
      manifest.files[name]?.sha256 ?? "the digest of the bundle",
    ),
  ]);
  return scrollable("Files", table("Files", ["File", "Bytes", "SHA-256"], rows));
}

function details(summary, content) {
  return element("details", {}, element("summary", {}, summary), content);
}
