// What a sample is: a picture, a volume, a series, a row of a table, or something else.

/** Return "picture", "volume", "series", "row" or "array". */
export function kindOf(manifest) {
  const { shape } = manifest.input;
  const isPixels = [1, 3].includes(shape[shape.length - 1]);
  if (shape.length === 3 && isPixels) return "picture";
  if (shape.length === 4 && isPixels) return "volume";
  return { 1: "row", 2: "series" }[shape.length] ?? "array";
}

/** Return the raw values that stand for black and white. */
export function unitValues(manifest) {
  if (manifest.input.dtype === "uint8") return [0, 255];
  const { standardization, undivided_uint8: undivided } = manifest.input;
  if (!undivided || standardization?.mean.length !== 1) return [0, 1];
  return [standardization.mean[0], standardization.mean[0] + standardization.scale[0]];
}

/** Return the values that a reconstruction has for black and white. */
export function reconstructedUnitValues(manifest) {
  return manifest.input.dtype === "uint8" ? [0, 1] : unitValues(manifest);
}

/** Return an empty sample: black, or zeros. */
export function emptySample(manifest) {
  const size = manifest.input.shape.reduce((product, length) => product * length, 1);
  if (manifest.input.dtype === "uint8") return new Uint8Array(size);
  const low = kindOf(manifest) === "picture" ? unitValues(manifest)[0] : 0;
  return new Float32Array(size).fill(low);
}

/** Return the shape of z of one sample. */
export function latentShape(manifest) {
  return manifest.latent_shape ?? [manifest.latent_dim];
}
