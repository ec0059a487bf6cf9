// Checks of a sample before the graphs see it.

/** Throw an Error if a value is not finite, or outside the range that the loss needs. */
export function checkSample(manifest, x) {
  const [low, high] = manifest.input.range ?? [-Infinity, Infinity];
  for (const value of x) {
    if (!Number.isFinite(value)) throw new Error("the sample has values that are not finite");
    if (value < low || value > high) {
      throw new Error(`the sample has the value ${value}, expected ${low} to ${high}`);
    }
  }
}
