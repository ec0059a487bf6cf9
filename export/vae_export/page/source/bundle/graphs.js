// The ONNX graphs, run by onnxruntime-web: WebAssembly, one thread, no extension for GPUs.

/** Graphs of a bundle; `run` is the only thing that a view or a check needs. */
export class Graphs {
  #sessions = new Map();
  #files;
  #last = Promise.resolve();

  constructor(manifest, files) {
    this.manifest = manifest;
    this.#files = files;
  }

  /** Start the WebAssembly; no other file is loaded. */
  static start(manifest, files, webassembly) {
    const { wasm } = globalThis.ort.env;
    wasm.numThreads = 1;
    wasm.proxy = false;
    wasm.wasmBinary = webassembly;
    return new Graphs(manifest, files);
  }

  /** Names of the graphs: encoder, decoder, loss, and score if there is one. */
  get names() {
    return Object.keys(this.manifest.graphs).filter((name) => this.manifest.graphs[name]);
  }

  /** Run a graph on arrays by name, and return its outputs by name. Runs follow one another. */
  run(name, inputs) {
    const result = this.#last.then(() => this.#runNow(name, inputs));
    this.#last = result.catch(() => {});
    return result;
  }

  async #runNow(name, inputs) {
    const session = await this.#session(name);
    const spec = this.manifest.graphs[name];
    const feeds = {};
    for (const { name: input, dtype } of spec.inputs) {
      const { shape, data } = inputs[input];
      feeds[input] = new globalThis.ort.Tensor(dtype, data, shape);
    }
    const results = await session.run(feeds);
    const outputs = {};
    for (const { name: output } of spec.outputs) {
      outputs[output] = { shape: [...results[output].dims], data: results[output].data.slice() };
      results[output].dispose?.();
    }
    return outputs;
  }

  async #session(name) {
    if (!this.#sessions.has(name)) {
      const file = this.#files.get(this.manifest.graphs[name].file);
      const session = globalThis.ort.InferenceSession.create(file, {
        executionProviders: ["wasm"],
      });
      this.#sessions.set(name, await session);
    }
    return this.#sessions.get(name);
  }
}
