// node node.mjs NODE_MODULES < job.json > results.json

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { run } from "./run.mjs";

const ort = createRequire(join(resolve(process.argv[2]), "any"))("onnxruntime-web");
const batches = await run(ort, JSON.parse(readFileSync(0, "utf8")));
process.stdout.write(JSON.stringify({ batches, version: `Node ${process.versions.node}` }));
