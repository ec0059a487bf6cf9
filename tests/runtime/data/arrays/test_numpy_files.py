"""Valid and damaged `.npy` and `.npz` files, read with both public functions."""

import io
import zipfile

import numpy as np
import pytest

from vae_builder.data import load_dataset
from vae_runtime.data.sources import load_array
from vae_runtime.errors import InputError

X = np.random.default_rng(0).integers(0, 256, (40, 4, 5), dtype=np.uint8)


def same_rows(a, b):
    return sorted(x.tobytes() for x in a) == sorted(x.tobytes() for x in b)


def test_keras_layout(tmp_path):
    path = tmp_path / "faces.npz"
    np.savez(path, x_train=X[:30], y_train=np.zeros(30), x_test=X[30:], y_test=np.zeros(10))
    dataset = load_dataset(path)
    assert dataset.name == "faces.npz"
    assert dataset.counts == {"train": 28, "validation": 2, "test": 10}
    assert (dataset.test[..., 0] == X[30:]).all()
    assert same_rows(X[:30], [*dataset.train, *dataset.validation])
    assert (load_array(path) == X[30:]).all()


@pytest.mark.parametrize("name", ["x_val", "x_validation"])
def test_keras_layout_with_validation(tmp_path, name):
    path = tmp_path / "faces.npz"
    np.savez(path, x_train=X[:30], x_test=X[30:], **{name: X[:7]})
    dataset = load_dataset(path)
    assert (dataset.train[..., 0] == X[:30]).all()
    assert (dataset.validation[..., 0] == X[:7]).all()
    assert dataset.split_seed is None


def test_keras_layout_of_x_train_only(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x_train=X, y_train=np.zeros(40))
    assert sum(load_dataset(tmp_path / "a.npz").counts.values()) == 40
    assert (load_array(tmp_path / "a.npz") == X).all()


def test_single_array_of_any_name(tmp_path):
    np.savez(tmp_path / "a.npz", pictures=X)
    assert (load_array(tmp_path / "a.npz") == X).all()
    assert load_dataset(str(tmp_path / "a.npz"), split_seed=3).split_seed == 3


def test_key_wins_over_the_layout(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=X[:3], x_test=X[:4], other=X)
    assert len(load_array(tmp_path / "a.npz", key="other")) == 40
    assert sum(load_dataset(tmp_path / "a.npz", key="other").counts.values()) == 40


@pytest.mark.parametrize(
    ("key", "message"),
    [("b", "has no array 'b'"), (None, "name the one to use, such as --key left")],
)
def test_unclear_choice_lists_names_and_shapes(tmp_path, key, message):
    np.savez(tmp_path / "a.npz", left=X, right=X)
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(tmp_path / "a.npz", key=key)
    assert "a.npz" in str(caught.value)
    assert "left (40, 4, 5) uint8, right (40, 4, 5) uint8" in str(caught.value)


def test_archive_without_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(InputError, match=r"a\.npz holds no arrays, expected a single"):
        load_array(tmp_path / "a.npz")


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_memory_mapped(tmp_path, dtype, order):
    np.save(tmp_path / "a.npy", np.asarray(X, dtype, order))
    x = load_array(tmp_path / "a.npy")
    assert isinstance(x, np.memmap)
    assert x.dtype == dtype
    assert (x == X).all()
    dataset = load_dataset(tmp_path / "a.npy")
    assert same_rows([*dataset.train, *dataset.validation, *dataset.test], x)


def test_big_endian_doubles(tmp_path):
    np.save(tmp_path / "a.npy", X.astype(">f8"))
    dataset = load_dataset(tmp_path / "a.npy")
    assert dataset.train.dtype == np.float32
    assert np.asarray(dataset.train).max() == X.max()


def test_empty_npy(tmp_path):
    np.save(tmp_path / "a.npy", np.empty((0, 4)))
    assert load_array(tmp_path / "a.npy").shape == (0, 4)
    with pytest.raises(InputError, match=r"a\.npy: samples have shape \(0, 4\), which is empty"):
        load_dataset(tmp_path / "a.npy")


@pytest.mark.parametrize("load", [load_array, load_dataset])
def test_python_objects_are_never_unpickled(tmp_path, load):
    objects = np.array([{"a": 1}, None] * 4)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", objects)
    for path in (tmp_path / "a.npy", tmp_path / "a.npz"):
        with pytest.raises(InputError, match=f"{path}.* holds Python objects, which are never"):
            load(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_truncated_npz(tmp_path, save, part):
    path = tmp_path / "a.npz"
    save(path, x=X)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(InputError, match=r"a\.npz is not a readable npz file \(.*\): it is damag"):
        load_array(path)


@pytest.mark.parametrize("size", [0, 5, 40, 128, 900])
def test_truncated_npy(tmp_path, size):
    path = tmp_path / "a.npy"
    np.save(path, X)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=r"a\.npy (is not a readable npy|has shape .* but holds)"):
        load_array(path)


def test_npy_with_extra_bytes(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, X)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(InputError, match="takes 800 bytes, but holds 801"):
        load_array(path)


def npy_header(shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


@pytest.mark.parametrize("shape", [(2**62,), (2**40, 2**40), (-4, -25)])
def test_header_with_a_wrong_shape(tmp_path, shape):
    content = npy_header(shape) + bytes(100)
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    for path in (tmp_path / "a.npy", tmp_path / "a.npz"):
        with pytest.raises(InputError, match=r"has shape .*, but holds 100: it is damaged"):
            load_array(path)


def test_member_that_claims_more_than_its_compressed_bytes_can_hold(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=X)
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\1\2")
    content[directory + 24 : directory + 28] = (2**31).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match="array 'x' claims 2147483648 bytes"):
        load_array(path)


def test_npz_that_is_not_a_zip_file(tmp_path):
    (tmp_path / "a.npz").write_text("hello")
    with pytest.raises(InputError, match=r"a\.npz is not a readable npz file \(File is not a zip"):
        load_array(tmp_path / "a.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, np.save])
def test_damage_anywhere_is_an_input_error_or_an_array(tmp_path, save):
    path = tmp_path / ("a.npy" if save is np.save else "a.npz")
    save(path, X[:4])
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(400):
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            load_array(path)
        except InputError as error:
            assert "\n" not in str(error)


def test_no_memory(tmp_path, monkeypatch):
    def read_array(*args, **kwargs):
        raise MemoryError

    np.savez(tmp_path / "a.npz", x=X)
    monkeypatch.setattr("numpy.lib.format.read_array", read_array)
    with pytest.raises(InputError, match=r"a\.npz does not fit in memory"):
        load_array(tmp_path / "a.npz")
