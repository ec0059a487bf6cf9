"""Coverage-guided fuzzing of the manifest's parser and of the graph check, by atheris.

    pip install "build-vae[fuzz]"
    python tests/fuzz/guided.py manifest BUNDLE -runs=1000000
    python tests/fuzz/guided.py graph BUNDLE -max_total_time=600

Fuzzing starts from the bundle's manifest or graphs. Arguments after BUNDLE go to libFuzzer. An
input must be refused with a `BundleError`, or an independent reader (jsonschema, onnx) must accept
it too. Any other exception ends the run, and libFuzzer names the file that holds the input. Add
what such a file shows to `tests/fuzz/corpus/`, which `test_fuzz.py` tests again.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["vae_runtime"]):
    from vae_runtime.bundle.bundle import Bundle
    from vae_runtime.bundle.manifest import MANIFEST_FILE, read_manifest
    from vae_runtime.errors import BundleError
    from vae_runtime.graph.check import check_graph

import json

import onnx
from judge import SCHEMA, PromiseBrokenError, faults_of_graph

GRAPHS = ("encoder", "decoder", "loss")


def try_manifest(data: bytes) -> None:
    try:
        read_manifest(data, MANIFEST_FILE)
    except BundleError:
        return
    for error in SCHEMA.iter_errors(json.loads(data.decode("utf-8", "strict"))):
        raise PromiseBrokenError(error.message)


class GraphTarget:
    """Fuzz target whose input is a byte that selects the graph, and the graph's file."""

    def __init__(self, bundle: Path) -> None:
        graphs = Bundle(bundle).manifest.graphs
        self.specs = [getattr(graphs, name) for name in GRAPHS]
        declared = json.loads((bundle / MANIFEST_FILE).read_bytes())["graphs"]
        self.declared = [declared[name] for name in GRAPHS]

    def __call__(self, data: bytes) -> None:
        index, file = data[0] % len(GRAPHS) if data else 0, data[1:]
        try:
            check_graph(file, self.specs[index], "graph")
        except BundleError:
            return
        for fault in faults_of_graph(onnx.load_model_from_string(file), self.declared[index]):
            raise PromiseBrokenError(fault)


def seeds(target: str, bundle: Path) -> list[bytes]:
    if target == "manifest":
        return [(bundle / MANIFEST_FILE).read_bytes()]
    files = [bundle / f"{name}.onnx" for name in GRAPHS]
    return [bytes([index]) + file.read_bytes() for index, file in enumerate(files)]


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
