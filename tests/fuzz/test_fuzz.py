"""Short runs of the fuzzers, and the inputs that they found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vae_runtime import BundleError
from vae_runtime.bundle.graph_fields import Graphs
from vae_runtime.files.strict_json import parse
from vae_runtime.graph.check import check_graph

FOLDER = Path(__file__).parent
CORPUS = FOLDER / "corpus"


def fuzz(*args):
    result = subprocess.run(
        [sys.executable, FOLDER / "bundles.py", *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_mutants_of_whole_bundles(exported):
    output = fuzz(exported(), "--mutations", 300, "--seed", 1)
    assert output.splitlines()[-1].startswith("300 mutants in")
    for kind in ("folder, manifest", "single file, graph, sealed", "single file, raw bytes"):
        assert f"{kind}: refused" in output
    assert "another bundle, whose proof holds" in output  # the checks after acceptance ran


@pytest.mark.slow
def test_every_flip_of_a_manifest(exported):
    assert "0 promises broken" in fuzz(exported(), "--flips")


def test_a_false_acceptance_is_noticed(exported, tmp_path):
    """The fuzzer fails if the loader skips the graph check."""
    program = (
        "import sys; from pathlib import Path; sys.argv[0] = sys.argv.pop(1);"
        "sys.path.insert(0, str(Path(sys.argv[0]).parent));"
        "import vae_runtime.inference.sessions as s; s.check_graph = lambda *_: None;"
        "import bundles; sys.exit(bundles.main())"
    )
    args = (FOLDER / "bundles.py", exported(), "--mutations", "60", "--keep", tmp_path / "kept")
    result = subprocess.run(
        [sys.executable, "-c", program, *args], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert "FOUND" in result.stdout
    assert any((tmp_path / "kept").iterdir())


@pytest.mark.parametrize("file", sorted((CORPUS / "graph").glob("*.onnx")), ids=lambda f: f.name)
def test_graphs_found_by_the_fuzzers(file):
    """Each graph was once accepted; its name says what is wrong with it."""
    kind, graph, _ = file.stem.split("-", 2)
    specs = parse(Graphs, json.loads((CORPUS / "graph" / f"{kind}.json").read_bytes()))
    with pytest.raises(BundleError, match="build-vae never writes such a graph"):
        check_graph(file.read_bytes(), getattr(specs, graph), file.name)
