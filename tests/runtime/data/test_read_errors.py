"""Errors of file parsers become one-line `InputError`s that name the file."""

import zlib

import pytest

from vae_runtime.data.read_errors import wrap_read_errors
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
def test_errors_of_parsers_are_wrapped(error, message):
    with pytest.raises(InputError, match=message) as caught, wrap_read_errors("a.npz", "npz file"):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [InputError("x"), MissingExtraError("x", "y", "z")])
def test_errors_of_build_vae_are_not_wrapped(error):
    with pytest.raises(type(error)) as caught, wrap_read_errors("a.npz", "npz file"):
        raise error
    assert caught.value is error
