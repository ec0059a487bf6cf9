// Start of the page: read the blocks, show the card, run the proof, then let the reader try.

import { readBlock, readFacts, readFiles } from "./bundle/blocks.js";
import { Graphs } from "./bundle/graphs.js";
import { readNpz } from "./bundle/npz.js";
import { showCard } from "./views/card.js";
import { Condition } from "./views/condition.js";
import { byId } from "./views/elements.js";
import { LatentView } from "./views/latent.js";
import { showProof } from "./views/proof.js";
import { SampleView } from "./views/sample.js";

/**
 * Read the bundle: {manifest, files, graphs, reference, mixture}, and with a score
 * {scores, elementMean, elementStd, novelty}.
 */
async function readBundle(facts) {
  const files = await readFiles(facts);
  const manifest = JSON.parse(new TextDecoder().decode(files.get("manifest.json")));
  showCard(manifest, facts, files);
  const webassembly = await readBlock("onnxruntime-web.wasm");
  const bundle = {
    manifest,
    files,
    graphs: Graphs.start(manifest, files, webassembly),
    reference: await readNpz(files.get(manifest.parity.file)),
    mixture: manifest.prior ? await readNpz(files.get(manifest.prior.file)) : null,
  };
  if (!manifest.score) return bundle;
  const calibration = await readNpz(files.get(manifest.score.file));
  const { novelty } = manifest.score;
  return {
    ...bundle,
    scores: calibration.float32_scores.data,
    elementMean: calibration.float32_element_mean,
    elementStd: calibration.float32_element_std,
    novelty: novelty ? await readNpz(files.get(novelty.file)) : null,
  };
}

async function start() {
  const facts = readFacts();
  const bundle = await readBundle(facts);
  await showProof(bundle, facts);
  byId("again").addEventListener("click", () => showProof(bundle, facts).catch(showFault));
  const condition = new Condition(bundle);
  const sample = new SampleView(bundle, condition);
  const latent = new LatentView(bundle, condition);
  latent.onFault = showFault;
  latent.onOwn = () => sample.zMean && latent.moveTo(sample.zMean);
}

/** Say that something failed, in words that the reader can pass on. */
function showFault(error) {
  byId("fault").textContent = `The page cannot compute: ${error.message}`;
  byId("fault").hidden = false;
  byId("verdict").textContent = "NOT CHECKED";
  byId("verdict").dataset.result = "bad";
}

start().catch(showFault);
