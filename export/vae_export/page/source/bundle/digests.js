// SHA-256 of what the page carries, compared with the manifest, as the Python runtime does.

/** Return the SHA-256 of bytes as 64 hexadecimal digits. */
export async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Check the manifest against the bundle's digest, and each file against the manifest.
 *
 * Returns {checked, faults}: the number of files, and a text for each that differs. `checked` is
 * null where the browser computes no digests.
 */
export async function checkDigests(facts, files, manifest) {
  if (!globalThis.crypto?.subtle) return { checked: null, faults: [] };
  const faults = [];
  for (const [name, bytes] of files) {
    const stated = name === "manifest.json" ? facts.sha256 : manifest.files[name].sha256;
    const found = await sha256(bytes);
    if (found !== stated) faults.push(`${name} has SHA-256 ${found}, expected ${stated}`);
  }
  return { checked: files.size, faults };
}
