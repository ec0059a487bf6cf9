// NumPy's .npz files: zip archives of .npy arrays.

const ELEMENT_TYPES = { "<f4": Float32Array, "<f8": Float64Array, "|u1": Uint8Array };

/** Return the arrays of an .npz file by name, each as {shape, data}. */
export async function readNpz(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new Error("an .npz file has no end of its directory");
  const arrays = {};
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    const [nameLength, extra, comment] = [28, 30, 32].map((i) => view.getUint16(at + i, true));
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength));
    arrays[name.replace(/\.npy$/, "")] = readNpy(await member(bytes, view, at));
    at += 46 + nameLength + extra + comment;
  }
  return arrays;
}

/** Return the bytes of a member, whose entry in the directory is at `at`. */
async function member(bytes, view, at) {
  const method = view.getUint16(at + 10, true);
  const size = view.getUint32(at + 20, true);
  const header = view.getUint32(at + 42, true);
  const start = header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true);
  const data = bytes.slice(start, start + size);
  if (method === 0) return data;
  const unpacked = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

/** Return an .npy array in C order as {shape, data}. */
export function readNpy(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = bytes[6] > 1; // from version 2 on, the header's length has four bytes
  const start = wide ? 12 : 10;
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder().decode(bytes.subarray(start, start + length));
  const [, kind] = /'descr': *'([^']+)'/.exec(header);
  const [, sizes] = /'shape': *\(([^)]*)\)/.exec(header);
  const Elements = ELEMENT_TYPES[kind];
  if (!Elements || /'fortran_order': *True/.test(header)) {
    throw new Error(`an .npy file has elements ${kind} in an order that this page does not read`);
  }
  const shape = sizes
    .split(",")
    .map((size) => size.trim())
    .filter(Boolean)
    .map(Number);
  const data = new Elements(bytes.slice(start + length).buffer, 0, elementCount(shape));
  return { shape, data };
}

/** Return the number of elements of a shape; 1 for no axes. */
export function elementCount(shape) {
  return shape.reduce((product, size) => product * size, 1);
}
