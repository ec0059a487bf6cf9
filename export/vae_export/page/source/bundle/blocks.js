// The data that the page carries: files of the bundle, gzipped and in base64, in blocks of its own.

/** Facts about the making of the page: files and their parts, digest, signature, library. */
export function readFacts() {
  return JSON.parse(document.getElementById("facts").textContent);
}

/** Return the bytes of a block. */
export async function readBlock(name) {
  const block = document.querySelector(`script[data-file="${CSS.escape(name)}"]`);
  const packed = new Blob([fromBase64(block.textContent)]).stream();
  const bytes = packed.pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(bytes).arrayBuffer());
}

/**
 * Return all files of the bundle by name, the manifest first.
 *
 * Weights stand in several graphs, so a file is a list of parts [source, start, stop]. The source is
 * an earlier file, or "" for the bytes in the file's own block.
 */
export async function readFiles(facts) {
  const files = new Map([["manifest.json", await readBlock("manifest.json")]]);
  for (const [name, parts] of inOrder(facts.files)) {
    const own = await readBlock(name);
    const length = parts.reduce((sum, [, start, stop]) => sum + stop - start, 0);
    const file = new Uint8Array(length);
    let at = 0;
    for (const [source, start, stop] of parts) {
      file.set((source === "" ? own : files.get(source)).subarray(start, stop), at);
      at += stop - start;
    }
    files.set(name, file);
  }
  return files;
}

/** Order files so that each comes after those that it takes parts from. */
function inOrder(files) {
  const ordered = new Map();
  const add = (name) => {
    if (ordered.has(name)) return;
    for (const [source] of files[name]) if (source !== "") add(source);
    ordered.set(name, files[name]);
  };
  Object.keys(files).forEach(add);
  return ordered;
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}
