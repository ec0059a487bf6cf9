"""Coverage-guided fuzzing of the manifest's parser and of the graph check, by atheris.

    pip install "build-vae[fuzz]"
    python tests/fuzz/guided.py manifest BUNDLE -runs=1000000
    python tests/fuzz/guided.py graph BUNDLE -max_total_time=600

Starts from the bundle's own manifest or graphs. What comes after BUNDLE goes to libFuzzer. An
input is refused with a `BundleError`, or accepted, and then an independent reader (jsonschema,
onnx) must agree; whatever else escapes ends the run, and libFuzzer names the file that holds the
input. What such a file shows is kept in `tests/fuzz/corpus/`, which `test_fuzz.py` tries again.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["vae_runtime"]):
    from vae_runtime.bundle.bundle import Bundle
    from vae_runtime.bundle.manifest import MANIFEST, read_manifest
    from vae_runtime.errors import BundleError
    from vae_runtime.graph.check import check_graph

import json

import onnx
from judge import SCHEMA, PromiseBrokenError, faults_of_graph

GRAPHS = ("encoder", "decoder", "loss")


def try_manifest(data: bytes) -> None:
    try:
        read_manifest(data, MANIFEST)
    except BundleError:
        return
    for error in SCHEMA.iter_errors(json.loads(data.decode("utf-8", "strict"))):
        raise PromiseBrokenError(error.message)


class GraphTarget:
    """Takes a byte that chooses the graph, and its file."""

    def __init__(self, bundle: Path) -> None:
        graphs = Bundle(bundle).manifest.graphs
        self.specs = [getattr(graphs, name) for name in GRAPHS]
        shown = json.loads((bundle / MANIFEST).read_bytes())["graphs"]
        self.shown = [shown[name] for name in GRAPHS]

    def __call__(self, data: bytes) -> None:
        which, file = data[0] % len(GRAPHS) if data else 0, data[1:]
        try:
            check_graph(file, self.specs[which], "graph")
        except BundleError:
            return
        for fault in faults_of_graph(onnx.load_model_from_string(file), self.shown[which]):
            raise PromiseBrokenError(fault)


def seeds(target: str, bundle: Path) -> list[bytes]:
    if target == "manifest":
        return [(bundle / MANIFEST).read_bytes()]
    files = [bundle / f"{name}.onnx" for name in GRAPHS]
    return [bytes([which]) + file.read_bytes() for which, file in enumerate(files)]


def main() -> None:
    if len(sys.argv) < 3 or sys.argv[1] not in ("manifest", "graph"):
        sys.exit(__doc__)
    target, bundle, options = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(seeds(target, bundle)):
            (Path(folder) / str(number)).write_bytes(data)
        words = [sys.argv[0], "-timeout=10", "-max_len=65536", *options, folder]
        atheris.Setup(words, try_manifest if target == "manifest" else GraphTarget(bundle))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
