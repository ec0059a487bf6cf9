"""Imports of the light runtime: they run one way, and using a bundle needs no TensorFlow."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

from page_files import fake_ort_web

ROOT = Path(__file__).parents[2]
HEAVY = ("tensorflow", "keras", "onnx", "tf2onnx", "PIL", "matplotlib", "h5py", "vae_export")

SCRIPT = """
import sys
{code}
print(sorted(set({heavy}) & set(sys.modules)))
"""


def heavy_modules_after(code, *, cwd, heavy=HEAVY):
    """Return the heavy modules that a fresh interpreter has imported after running some code."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT.format(code=code, heavy=heavy)],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


@pytest.fixture
def folder(exported, tmp_path):
    """A folder with samples and a bundle."""
    (tmp_path / "bundle").symlink_to(exported())
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    return tmp_path


def test_the_library(folder):
    code = """
import numpy, vae_runtime
vae = vae_runtime.load("bundle")
x = numpy.load("x.npy")
vae.reconstruct(x), vae.loss(x), vae.sample(2), vae.interpolate(x[0], x[1])
assert vae.verify().passed
"""
    assert heavy_modules_after(code, cwd=folder, heavy=(*HEAVY, "vae_builder", "click")) == "[]"


def test_the_command_line(folder):
    code = """
from vae_runtime.cli.main import run
for words in (
    "verify bundle",
    "verify bundle --json",
    "inspect bundle",
    "inspect --schema",
    "score bundle x.npy -o scores.csv",
    "explain bundle x.npy -o why.csv",
    "sample bundle -n 2 -o samples.npy",
    "reconstruct bundle x.npy -o out.npz",
    "--help",
    "export --help",
):
    assert run(words.split()) == 0, words
"""
    assert heavy_modules_after(code, cwd=folder) == "[]"


def test_a_page_needs_no_tensorflow(folder):
    fake_ort_web(folder)
    code = """
from vae_runtime.cli.main import run
import vae_export, vae_builder
assert run(["page", "bundle", "-o", "page.html"]) == 0
"""
    heavy = {*HEAVY, "onnxruntime"} - {"vae_export"}
    assert heavy_modules_after(code, cwd=folder, heavy=tuple(heavy)) == "[]"


@pytest.mark.slow
def test_bench_runs_tensorflow_in_another_process(folder):
    code = """
from vae_runtime.cli.main import run
words = "bench bundle --batch 1 --threads 1 --seconds 0.1 --json -q"
import contextlib, io, json
with contextlib.redirect_stdout(io.StringIO()) as out:
    assert run(words.split()) == 0
assert "TensorFlow" in json.loads(out.getvalue())["peers"][0]["runtime"]
"""
    assert heavy_modules_after(code, cwd=folder) == "[]"


def test_import_does_not_load_the_benchmark():
    late = ("vae_runtime.benchmark", "random", "subprocess", "tempfile")
    assert heavy_modules_after("import vae_runtime", cwd=ROOT, heavy=late) == "[]"


def test_the_cluster_is_loaded_only_where_it_is_used(folder):
    late = ("vae_runtime.cluster", "multiprocessing", "concurrent", "pyarrow", "fsspec")
    code = """
from vae_runtime.cli.main import run
assert run("score bundle x.npy -o scores.csv --threads 1".split()) == 0
"""
    assert heavy_modules_after(code, cwd=folder, heavy=late) == "[]"


def test_the_check_finds_a_heavy_import(folder):
    assert heavy_modules_after("import onnx", cwd=folder) == "['onnx']"


PACKAGES = {
    "vae_runtime": ROOT / "runtime",
    "vae_export": ROOT / "export",
    "vae_builder": ROOT / "builder",
}


def imported(file, *, when_loaded=False):
    """Yield the modules that a file imports: anywhere in it, or only those on loading it."""
    tree = ast.parse(file.read_text("utf-8"))
    for node in tree.body if when_loaded else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            # "from package import name" may name a module or an object in it
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages_of(files, **options):
    modules = (name for file in files for name in imported(file, **options))
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("vae_runtime", {"vae_export", "vae_builder", *HEAVY} - {"PIL", "h5py"}),
        ("vae_export", {"vae_builder"}),
    ],
)
def test_imports_run_one_way(package, forbidden):
    files = sorted(PACKAGES[package].rglob("*.py"))
    assert len(files) > 5
    assert {file.name: bad for file in files if (bad := forbidden & packages_of([file]))} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_have_no_import_cycle(package):
    """Imports among the modules and subfolders of a folder also run one way."""
    for folder in (PACKAGES[package] / package).rglob("."):
        if not (folder / "__init__.py").is_file():
            continue
        prefix = ".".join(folder.relative_to(PACKAGES[package]).parts) + "."
        rooms = {}
        for file in folder.rglob("*.py"):
            room = file.relative_to(folder).parts[0].removesuffix(".py")
            inside = (m.removeprefix(prefix) for m in imported(file) if m.startswith(prefix))
            rooms.setdefault(room, set()).update(name.partition(".")[0] for name in inside)
        rooms.pop("__init__", None)
        edges = {room: others & rooms.keys() - {room} for room, others in rooms.items()}
        assert [*TopologicalSorter(edges).static_order()]  # raises CycleError


def test_packages_that_the_runtime_needs():
    files = sorted((ROOT / "runtime").rglob("*.py"))
    always = packages_of(files, when_loaded=True) - set(sys.stdlib_module_names)
    assert always == {"numpy", "msgspec", "click", "vae_runtime"}
    optional = packages_of(files) - always - set(sys.stdlib_module_names)
    engines = {"ray", "dask", "distributed", "fsspec"}
    assert optional == {"onnxruntime", "PIL", "pyarrow", "scipy", "h5py", "zarr"} | engines
