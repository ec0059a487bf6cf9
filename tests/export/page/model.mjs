// Runs the page's modules in Node: the parity check, and explanations, of bundles in folders.
//
// Each line of the input is a job. {bundle, x, condition} is a folder, samples as lists of numbers,
// and one condition or null; the answer is {report, explanations}. {bundle, eps, chance} is a draw from
// the bundle's mixture prior; the answer is {z}. {manifest, rows} are rows of a
// table as text; the answer is {x, again}: samples, and the cells that they stand for. Arguments: the
// folder of the page's source, and onnxruntime-web.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [source, ortWeb] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(path));
globalThis.ort = await load(join(ortWeb, "dist/ort.wasm.bundle.min.mjs"));
const { Graphs } = await load(join(source, "bundle/graphs.js"));
const { readNpz } = await load(join(source, "bundle/npz.js"));
const { drawFrom } = await load(join(source, "proof/mixture.js"));
const { checkParity } = await load(join(source, "proof/parity.js"));
const { explain } = await load(join(source, "samples/explanation.js"));
const { decodeRow, encodeRow, parseRow } = await load(join(source, "samples/tables.js"));
const webassembly = await readFile(join(ortWeb, "dist/ort-wasm-simd-threaded.wasm"));

async function open(folder) {
  const read = async (name) => new Uint8Array(await readFile(join(folder, name)));
  const manifest = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8"));
  const files = new Map();
  for (const { file } of Object.values(manifest.graphs)) files.set(file, await read(file));
  const { score } = manifest;
  const calibration = score ? await readNpz(await read(score.file)) : {};
  return {
    manifest,
    graphs: Graphs.start(manifest, files, webassembly),
    reference: await readNpz(await read(manifest.parity.file)),
    scores: calibration.float32_scores?.data,
    elementMean: calibration.float32_element_mean,
    elementStd: calibration.float32_element_std,
    mixture: manifest.prior ? await readNpz(await read(manifest.prior.file)) : null,
    novelty: score?.novelty ? await readNpz(await read(score.novelty.file)) : null,
  };
}

async function answer({ bundle: folder, x, condition, eps, chance }) {
  const bundle = await open(folder);
  if (eps) return { z: drawFrom(bundle.mixture, eps, chance) };
  const Elements = bundle.manifest.input.dtype === "uint8" ? Uint8Array : Float32Array;
  const given = condition && Float32Array.from(condition);
  const report = await checkParity(bundle);
  const explanations = [];
  for (const sample of x) explanations.push(await explain(bundle, Elements.from(sample), given));
  return { report, explanations };
}

function encode({ manifest, rows }) {
  const x = rows.map((row) => {
    try {
      return encodeRow(manifest, parseRow(manifest, row));
    } catch (error) {
      return error.message;
    }
  });
  const again = x.map((sample) => (typeof sample === "string" ? null : decodeRow(manifest, sample)));
  return { x, again };
}

const plain = (key, value) => (ArrayBuffer.isView(value) ? [...value] : value);
for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  const result = job.rows ? Promise.resolve(encode(job)) : answer(job);
  const found = await result.catch((error) => ({ error: error.stack }));
  console.log(JSON.stringify(found, plain));
}
