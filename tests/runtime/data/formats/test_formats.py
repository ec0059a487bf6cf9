"""Formats that another library owns: written by that library, read as what was written."""

import sys
from pathlib import Path

import numpy as np
import pytest

from vae_builder.data import load_dataset
from vae_runtime.data.formats import sparse as sparse_module
from vae_runtime.data.sources import load_array, load_samples, load_splits
from vae_runtime.errors import InputError, MissingExtraError, OptionError

RNG = np.random.default_rng(0)
X = RNG.random((30, 4))
IMAGES = RNG.integers(0, 256, (9, 5, 6, 3), dtype=np.uint8)
Y = RNG.integers(0, 3, 30)


@pytest.fixture
def io():
    return pytest.importorskip("scipy.io")


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py")


@pytest.fixture
def zarr():
    return pytest.importorskip("zarr")


@pytest.mark.parametrize("version", ["4", "5"])
def test_matlab(tmp_path, io, version):
    io.savemat(tmp_path / "a.mat", {"X": X, "y": Y[:, None], "n": 30.0}, format=version)
    loaded = load_samples(tmp_path / "a.mat")
    np.testing.assert_array_equal(loaded.x, X)
    np.testing.assert_array_equal(loaded.labels, Y)


def test_whole_doubles_of_matlab_are_doubles(tmp_path, io):
    """MATLAB stores them as uint8, and uint8 would be divided by 255."""
    data = Path(io.matlab.__file__).parent / "tests" / "data" / "testmatrix_7.4_GLNX86.mat"
    if not data.exists():
        pytest.skip("this SciPy comes without its tests")
    x = load_array(data)
    assert x.dtype == np.float64
    assert x.tolist() == [[1, 2, 3, 4, 5], [2, 0, 0, 0, 0], [3, 0, 0, 0, 0]]


def test_pixels_of_matlab_stay_uint8(tmp_path, io):
    io.savemat(tmp_path / "a.mat", {"images": IMAGES})
    assert load_array(tmp_path / "a.mat").dtype == np.uint8


def test_complex_sparse_matrices_are_refused(tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    sparse.save_npz(tmp_path / "a.npz", sparse.csr_matrix(X * 1j))
    with pytest.raises(InputError, match="holds complex128, expected real numbers"):
        load_array(tmp_path / "a.npz")


def test_matlab_splits_cells_and_key(tmp_path, io):
    cells = np.array([["a"], ["b"]], dtype=object)
    arrays = {"train_x": X[:20], "test_x": X[20:], "train_y": np.eye(3)[Y[:20]], "names": cells}
    io.savemat(tmp_path / "a.mat", arrays)
    splits = load_splits(tmp_path / "a.mat")
    np.testing.assert_array_equal(splits["test"].x, X[20:])
    np.testing.assert_array_equal(splits["train"].labels, Y[:20])
    assert len(load_array(tmp_path / "a.mat", key="train_x")) == 20


@pytest.mark.parametrize("labels", [{}, {"y": np.arange(9)[:, None]}, {"y": np.arange(9)[None]}])
def test_matlab_has_its_samples_in_the_last_axis(tmp_path, io, labels):
    square = IMAGES[:, :, :5]
    io.savemat(tmp_path / "a.mat", {"X": square.transpose(1, 2, 3, 0), **labels})
    loaded = load_samples(tmp_path / "a.mat")
    np.testing.assert_array_equal(loaded.x, square)
    assert "has its samples in the last axis" in loaded.notes[0]


def test_columns_of_matlab_are_samples_if_the_labels_say_so(tmp_path, io):
    io.savemat(tmp_path / "a.mat", {"data": X.T, "label": Y[None].astype(float)})  # mnist-original
    loaded = load_samples(tmp_path / "a.mat")
    np.testing.assert_array_equal(loaded.x, X)
    np.testing.assert_array_equal(loaded.labels, Y)


def test_square_pictures_in_the_last_axis_of_matlab(tmp_path, io):
    io.savemat(tmp_path / "a.mat", {"faces": IMAGES[:, :, :5, 0].transpose(1, 2, 0)})
    np.testing.assert_array_equal(load_array_with_notes(tmp_path / "a.mat"), IMAGES[:, :, :5, 0])


def load_array_with_notes(path):
    with pytest.warns(UserWarning, match="last axis"):
        return load_array(path)


def test_sparse_matrix_of_matlab(tmp_path, io):
    from scipy import sparse

    io.savemat(tmp_path / "a.mat", {"X": sparse.csc_matrix(np.where(X > 0.5, X, 0)), "y": Y})
    np.testing.assert_allclose(load_array(tmp_path / "a.mat"), np.where(X > 0.5, X, 0), rtol=1e-6)


def test_matlab_7_3_is_hdf5_with_its_axes_turned_round(tmp_path, h5py):
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["X"] = IMAGES.transpose(1, 2, 3, 0).T  # MATLAB writes the last axis first
        file["y"] = np.arange(9.0)[None].T
        file["#refs#/a"] = X
    loaded = load_samples(tmp_path / "a.mat")
    np.testing.assert_array_equal(loaded.x, IMAGES)
    np.testing.assert_array_equal(loaded.labels, range(9))


@pytest.mark.parametrize("extension", ["h5", "hdf5"])
def test_hdf5_groups_and_labels(tmp_path, h5py, extension):
    path = tmp_path / f"a.{extension}"
    with h5py.File(path, "w") as file:
        file["train/images"], file["test/images"] = IMAGES[:6], IMAGES[6:]
        file["train/labels"] = np.array(["a", "b"] * 3, dtype=h5py.string_dtype())
        file["scale"] = 255.0
    splits = load_splits(path)
    np.testing.assert_array_equal(splits["train"].x, IMAGES[:6])
    assert splits["train"].labels.tolist() == ["a", "b"] * 3
    np.testing.assert_array_equal(load_array(path), IMAGES[6:])
    assert load_dataset(path).counts["test"] == 3


def test_hdf5_that_is_not_clear_names_its_arrays(tmp_path, h5py):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["left"], file["right"] = X, X
    with pytest.raises(InputError, match=r"holds left \(30, 4\) float64, right .* --key left"):
        load_array(tmp_path / "a.h5")
    np.testing.assert_array_equal(load_array(tmp_path / "a.h5", key="right"), X)


def test_hdf5_opens_no_other_file(tmp_path, h5py):
    (tmp_path / "secret").write_bytes(bytes(240))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        secret = [(str(tmp_path / "secret"), 0, 240)]
        file.create_dataset("X", (10, 3), "f8", external=secret)
    with pytest.raises(InputError, match="X lies in another file, which is not opened"):
        load_array(tmp_path / "a.h5")


def test_hdf5_that_claims_too_much_is_refused_unread(tmp_path, h5py):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("X", (1 << 30, 1 << 10), "f8", chunks=(1, 8))
    with pytest.raises(InputError, match=r"X claims \d+ bytes, its 0 compressed bytes cannot"):
        load_array(tmp_path / "a.h5")


@pytest.mark.parametrize("zipped", [False, True])
def test_zarr(tmp_path, zarr, zipped):
    path = tmp_path / ("a.zarr.zip" if zipped else "a.zarr")
    store = zarr.storage.ZipStore(path, mode="w") if zipped else str(path)
    root = zarr.open_group(store, mode="w")
    for name, array in {"images": IMAGES, "labels": np.arange(9)}.items():
        root.create_array(name, data=array)
    if zipped:
        store.close()
    loaded = load_samples(path)
    np.testing.assert_array_equal(loaded.x, IMAGES)
    np.testing.assert_array_equal(loaded.labels, range(9))


def test_zarr_of_one_array(tmp_path, zarr):
    zarr.save_array(str(tmp_path / "a.zarr"), X)
    np.testing.assert_array_equal(load_array(tmp_path / "a.zarr"), X)
    assert sum(load_dataset(tmp_path / "a.zarr").counts.values()) == 30


def test_zarr_never_unpickles(tmp_path, zarr):
    numcodecs = pytest.importorskip("numcodecs")
    array = zarr.create(
        (4, 2),
        chunks=(4, 2),
        dtype="f8",
        store=str(tmp_path / "a.zarr"),
        zarr_format=2,
        filters=[numcodecs.Pickle()],
    )
    array[...] = 1.0
    with pytest.raises(InputError, match="pickle"):
        load_array(tmp_path / "a.zarr")


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia"])
def test_sparse_npz(tmp_path, kind):
    sparse = pytest.importorskip("scipy.sparse")
    x = np.where(X > 0.5, X, 0)
    sparse.save_npz(tmp_path / "a.npz", sparse.csr_matrix(x).asformat(kind))
    np.testing.assert_allclose(load_array(tmp_path / "a.npz"), x, rtol=1e-6)


def test_a_sparse_matrix_that_is_too_large_is_refused(tmp_path, monkeypatch):
    sparse = pytest.importorskip("scipy.sparse")
    monkeypatch.setattr(sparse_module, "MAX_DENSE_BYTES", 1000)
    sparse.save_npz(tmp_path / "a.npz", sparse.csr_matrix((300, 300)))
    with pytest.raises(InputError, match=r"shape \(300, 300\), which takes .* select rows"):
        load_array(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("name", "module"),
    [("a.mat", "scipy"), ("a.h5", "h5py"), ("a.zarr.zip", "zarr"), ("a.npz", "scipy")],
)
def test_without_the_library(tmp_path, monkeypatch, name, module):
    if name == "a.npz":
        np.savez(tmp_path / name, format=b"csr", shape=(2, 2), data=X, indices=Y, indptr=Y)
    else:
        (tmp_path / name).write_bytes(bytes(1000))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'needs {module}.*"build-vae\[formats\]"'):
        load_array(tmp_path / name)


@pytest.mark.parametrize("name", ["a.mat", "a.h5", "a.hdf5", "a.zarr.zip", "a.ts"])
@pytest.mark.parametrize("content", [b"", b"hello", bytes(3000), b"\x89HDF\r\n\x1a\n" + bytes(99)])
def test_damaged(tmp_path, name, content):
    for module in {"mat": ["scipy"], "h5": ["h5py"], "hdf5": ["h5py"], "zip": ["zarr"]}.get(
        name.rpartition(".")[2], []
    ):
        pytest.importorskip(module)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_array(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


SERIES = """# comment
@problemName demo
@univariate {univariate}
@equalLength true
@classLabel true up down
@data
"""


def test_series_of_one_channel(tmp_path):
    (tmp_path / "a.ts").write_text(SERIES + "1,2,3:up\n4,5.5,6:down\n")
    loaded = load_samples(tmp_path / "a.ts")
    assert loaded.x.tolist() == [[1, 2, 3], [4, 5.5, 6]]
    assert loaded.labels.tolist() == ["up", "down"]


def test_series_of_several_channels_and_splits(tmp_path):
    (tmp_path / "A_TRAIN.ts").write_text(SERIES + "1,2,3:9,8,7:up\n4,5,6:6,5,4:down\n" * 4)
    (tmp_path / "A_TEST.ts").write_text(SERIES + "1,2,3:9,8,7:up\n")
    assert load_samples(tmp_path).x.tolist() == [[[1, 9], [2, 8], [3, 7]]]
    dataset = load_dataset(tmp_path)
    assert dataset.input_shape == (3, 2)
    assert dataset.counts["test"] == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,2:up\n1,2,3:up\n", "series of 2 to 3 values, expected the same length"),
        ("1,2:1,2,3:up\n", "line 7 has channels of 2 to 3 values"),
        ("1,?:up\n", "line 7 has missing values"),
        ("", "no series below @data"),
    ],
)
def test_series_that_are_no_array(tmp_path, rows, message):
    (tmp_path / "a.ts").write_text(SERIES + rows)
    with pytest.raises(InputError, match=message):
        load_array(tmp_path / "a.ts")


def test_regression_targets_are_numbers(tmp_path):
    (tmp_path / "a.ts").write_text("@targetLabel true\n@data\n1,2:0.5\n3,4:1.5\n")
    assert load_samples(tmp_path / "a.ts").labels.tolist() == [0.5, 1.5]


def test_a_key_is_for_arrays_with_names(tmp_path):
    (tmp_path / "a.ts").write_text(SERIES + "1,2,3:up\n")
    with pytest.raises(OptionError, match="key 'x' is for files of several arrays"):
        load_array(tmp_path / "a.ts", key="x")
