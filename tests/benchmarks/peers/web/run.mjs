// A graph in onnxruntime-web, the same lines in Node and in a page.
//
// A job is { model, batches } with tensors as { type, dims, data }; bytes are base64.

const ARRAYS = { float32: Float32Array, uint8: Uint8Array };

function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

function tensor(ort, { type, dims, data }) {
  return new ort.Tensor(type, new ARRAYS[type](bytes(data).buffer), dims);
}

export async function run(ort, { model, batches }) {
  ort.env.wasm.numThreads = 1; // more need a page that is isolated from others
  const session = await ort.InferenceSession.create(bytes(model), {
    executionProviders: ["wasm"],
  });
  const results = [];
  for (const batch of batches) {
    const feeds = {};
    for (const [name, value] of Object.entries(batch)) feeds[name] = tensor(ort, value);
    const found = await session.run(feeds);
    const outputs = {};
    for (const [name, value] of Object.entries(found)) outputs[name] = Array.from(value.data);
    results.push(outputs);
  }
  return results;
}
