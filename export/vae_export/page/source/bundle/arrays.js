// Arrays with a batch axis: {shape: [batch, ...], data: Float32Array or Uint8Array}.

import { elementCount } from "./npz.js";

/** Return the number of elements of one sample. */
export function sampleSize(array) {
  return elementCount(array.shape.slice(1));
}

/** Return the data of one sample, as a view. */
export function sampleOf(array, row) {
  const size = sampleSize(array);
  return array.data.subarray(row * size, (row + 1) * size);
}

/** Return an array of the given samples, in this order. */
export function takeRows(array, rows) {
  return stackRows(
    array.shape.slice(1),
    rows.map((row) => sampleOf(array, row)),
    array.data,
  );
}

/** Return samples, each the data of one, as an array; `like` has the type of its elements. */
export function stackRows(shape, samples, like = samples[0]) {
  const size = elementCount(shape);
  const data = new like.constructor(samples.length * size);
  samples.forEach((sample, i) => data.set(sample, i * size));
  return { shape: [samples.length, ...shape], data };
}

/** Return the samples of several arrays, one after the other. */
export function concatenate(arrays) {
  const rows = arrays.flatMap((array) =>
    Array.from({ length: array.shape[0] }, (_, i) => sampleOf(array, i)),
  );
  return stackRows(arrays[0].shape.slice(1), rows, arrays[0].data);
}
