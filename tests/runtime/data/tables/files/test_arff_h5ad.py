"""Tables of Weka and of AnnData, compared with what the libraries themselves hold."""

import sys

import numpy as np
import pytest

from vae_builder.data import load_dataset
from vae_runtime.data.sources import load_array, load_table
from vae_runtime.data.tables.options import TableOptions
from vae_runtime.errors import InputError, MissingExtraError

ARFF = """% iris
@relation demo
@attribute length numeric
@attribute 'a width' real
@attribute colour {red, 'dark blue'}
@attribute class {one, two}
@data
5.1,3.5,red,one
4.9,?,'dark blue',two
"""


@pytest.fixture
def arff(tmp_path):
    pytest.importorskip("scipy")
    (tmp_path / "a.arff").write_text(ARFF + "6,2,red,one\n" * 18)
    return tmp_path / "a.arff"


def test_arff(arff):
    table = load_table(arff, TableOptions(missing="mean"))
    assert table.columns == ("length", "a width", "colour=dark blue", "colour=red")
    assert table.label == "class"
    assert table.labels.tolist() == ["one", "two", *["one"] * 18]
    x = table.x
    np.testing.assert_allclose(x[0], [5.1, 3.5, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(x[1, [0, 2, 3]], [4.9, 1, 0], rtol=1e-6)
    assert x[1, 1] == pytest.approx((3.5 + 2 * 18) / 19)
    assert load_dataset(arff, missing="mean").labels["train"] is not None


def test_arff_columns_by_name(arff):
    assert load_array(arff, columns=("length",)).shape == (20, 1)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [("text string", r"SciPy does not read .* write the table as \.csv"), ("text wrong", "ARFF")],
)
def test_arff_that_scipy_does_not_read(tmp_path, attribute, message):
    pytest.importorskip("scipy")
    (tmp_path / "a.arff").write_text(f"@relation a\n@attribute {attribute}\n@data\nhello\n")
    with pytest.raises(InputError, match=message):
        load_table(tmp_path / "a.arff")


X = np.random.default_rng(0).poisson(0.5, (30, 5)).astype(np.float32)
NAMES = [f"gene{i}" for i in range(5)]


def write_h5ad(path, kind):
    """Write the parts of an AnnData file that its format prescribes, as anndata 0.12 does."""
    h5py, sparse = pytest.importorskip("h5py"), pytest.importorskip("scipy.sparse")
    with h5py.File(path, "w") as file:
        file["var/names"] = np.array(NAMES, dtype=h5py.string_dtype())
        file["var"].attrs["_index"] = "names"
        file["obs/cell"] = np.arange(30)
        if kind == "dense":
            file["X"] = X
            return
        matrix = (sparse.csr_matrix if kind == "csr" else sparse.csc_matrix)(X)
        for name in ("data", "indices", "indptr"):
            file[f"X/{name}"] = getattr(matrix, name)
        file["X"].attrs["encoding-type"] = f"{kind}_matrix"
        file["X"].attrs["shape"] = X.shape


@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
def test_h5ad(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("vae_runtime.data.tables.files.chunks.CHUNK_ROWS", 7)
    path = tmp_path / "a.h5ad"
    write_h5ad(path, kind)
    table = load_table(path)
    assert table.columns == tuple(NAMES)
    np.testing.assert_array_equal(table.x, X)
    np.testing.assert_array_equal(load_array(path, columns=("gene3", "gene0")), X[:, [3, 0]])


def test_h5ad_of_anndata_itself(tmp_path):
    anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    anndata.AnnData(X, var=pandas.DataFrame(index=NAMES)).write_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(load_table(tmp_path / "a.h5ad").x, X)


def test_h5ad_without_a_matrix(tmp_path):
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("scipy")
    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        file["obs/x"] = X
    with pytest.raises(InputError, match="has no matrix X"):
        load_table(tmp_path / "a.h5ad")


@pytest.mark.parametrize(("name", "module"), [("a.arff", "scipy"), ("a.h5ad", "h5py")])
def test_without_the_library(tmp_path, monkeypatch, name, module):
    (tmp_path / name).write_text("x")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'needs {module}.*"build-vae\[formats\]"'):
        load_table(tmp_path / name)
