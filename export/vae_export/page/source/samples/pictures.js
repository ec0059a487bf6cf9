// Pictures as samples: read like `vae_runtime` reads them, grey or RGB, transparency over black.

import { unitValues } from "./kinds.js";

const LUMA = [19595, 38470, 7471]; // of 65536, as Pillow's "L"

/**
 * Return {x, note} of a picture: a file, a camera's frame, or any source that a canvas draws.
 *
 * The picture is resized if its size is not the model's; the note says so.
 */
export async function readPicture(source, manifest) {
  const [height, width, channels] = manifest.input.shape;
  const picture = source instanceof Blob ? await decoded(source) : source;
  const [ownWidth, ownHeight] = [
    picture.videoWidth ?? picture.width,
    picture.videoHeight ?? picture.height,
  ];
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { colorSpace: "srgb" });
  context.fillRect(0, 0, width, height); // black
  const fits = ownWidth === width && ownHeight === height;
  context.imageSmoothingEnabled = !fits;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height).data;
  const note = fits ? "" : `resized from ${ownWidth} × ${ownHeight} to ${width} × ${height}`;
  return { x: fromPixels(pixels, channels, manifest), note };
}

async function decoded(file) {
  try {
    return await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Error(`${file.name || "this"} is not a picture that this browser reads`);
  }
}

/** Return a sample from RGBA bytes. */
function fromPixels(pixels, channels, manifest) {
  const bytes = new Uint8Array((pixels.length / 4) * channels);
  for (let i = 0; i < pixels.length / 4; i++) {
    const rgb = pixels.subarray(4 * i, 4 * i + 3);
    if (channels === 3) bytes.set(rgb, 3 * i);
    else bytes[i] = (LUMA[0] * rgb[0] + LUMA[1] * rgb[1] + LUMA[2] * rgb[2] + 0x8000) >> 16;
  }
  return fromBytes(bytes, manifest);
}

/** Return a sample of the graphs' dtype from uint8 values. */
export function fromBytes(bytes, manifest) {
  if (manifest.input.dtype === "uint8") return bytes;
  if (manifest.input.undivided_uint8) return Float32Array.from(bytes);
  if (manifest.data?.binary_uint8) return Float32Array.from(bytes, (byte) => (byte > 127 ? 1 : 0));
  return Float32Array.from(bytes, (byte) => byte / 255);
}

/** Paint a round, soft spot into a sample; `colour` has a number from 0 to 1 for each channel. */
export function paintSpot(x, manifest, column, row, radius, colour) {
  const [height, width, channels] = manifest.input.shape;
  const [black, white] = unitValues(manifest);
  const reach = Math.ceil(radius + 1);
  for (let i = Math.max(0, Math.floor(row) - reach); i <= Math.min(height - 1, row + reach); i++) {
    for (
      let j = Math.max(0, Math.floor(column) - reach);
      j <= Math.min(width - 1, column + reach);
      j++
    ) {
      const distance = Math.hypot(i + 0.5 - row, j + 0.5 - column);
      const cover = Math.min(Math.max(radius + 0.5 - distance, 0), 1);
      for (let channel = 0; channel < channels; channel++) {
        const at = (i * width + j) * channels + channel;
        const ink = black + (white - black) * colour[channel];
        const painted = x[at] + cover * (ink - x[at]);
        if (cover > 0) x[at] = x instanceof Uint8Array ? Math.round(painted) : painted;
      }
    }
  }
}
