"""What pages are made from, for tests: an onnxruntime-web that computes nothing, and parsing."""

import base64
import gzip
import json
import re


def fake_ort_web(folder, version="9.9.9"):
    """Write a package with the names of onnxruntime-web's files, and return its folder."""
    package = folder / "node_modules" / "onnxruntime-web"
    (package / "dist").mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"version": version}))
    (package / "dist" / "ort.wasm.bundle.min.mjs").write_text("const a=1;export{a as env};\n")
    (package / "dist" / "ort-wasm-simd-threaded.wasm").write_bytes(b"\0asm")
    return package


def blocks(html):
    """Return the data blocks of a page by name, unpacked."""
    found = re.findall(r'<script type="application/octet-stream" data-file="(.*?)">(.*?)<', html)
    return {name: gzip.decompress(base64.b64decode(text)) for name, text in found}


def facts(html):
    """Return what the page knows beside the bundle's files."""
    return json.loads(re.search(r'<script type="application/json" id="facts">(.*?)<', html)[1])


def rebuilt_files(html):
    """Return the files of the bundle as the page puts them together."""
    own, files = blocks(html), {}
    for name, parts in facts(html)["files"].items():
        bytes_of = {**files, "": own[name]}
        files[name] = b"".join(bytes_of[source][start:stop] for source, start, stop in parts)
    return files
