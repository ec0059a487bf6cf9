"""Whatever a parser raises becomes one line that names the file."""

import zlib

import pytest

from vae_runtime.data.reading import reading
from vae_runtime.errors import InputError, MissingExtraError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("two\n  lines"), r"a\.npz is not a readable npz file \(two lines\): it is dam"),
        (zlib.error(), r"not a readable npz file \(error\)"),
        (OSError("cannot identify"), r"not a readable npz file \(cannot identify\)"),
        (OSError(5, "I/O error"), r"a\.npz cannot be read \(I/O error\): check the path"),
        (MemoryError(), r"a\.npz does not fit in memory: give fewer samples"),
    ],
)
def test_errors_of_parsers(error, message):
    with pytest.raises(InputError, match=message) as caught, reading("a.npz", "npz file"):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [InputError("x"), MissingExtraError("x", "y", "z")])
def test_our_own_errors_pass(error):
    with pytest.raises(type(error)) as caught, reading("a.npz", "npz file"):
        raise error
    assert caught.value is error
