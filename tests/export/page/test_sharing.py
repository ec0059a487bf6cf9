"""Files with runs in common: put together again byte for byte, each run carried once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_export.page.sharing import STRIDE, share


def joined(files):
    found = {}
    for file in share(files):
        found[file.name] = file.join(found)
    return found


def noise(seed, size):
    return np.random.default_rng(seed).bytes(size)


pieces = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3 * STRIDE), st.booleans()), max_size=5
)


@given(st.lists(pieces, max_size=4))
def test_any_files_come_back(recipes):
    """Files of random pieces; the same seed gives the same bytes, zeros stand between them."""
    files = {
        str(i): b"".join(
            noise(seed, size) if dense else bytes(size) for seed, size, dense in recipe
        )
        for i, recipe in enumerate(recipes)
    }
    assert joined(files) == files


def test_common_runs_are_carried_once():
    weights, other = noise(0, 10 * STRIDE), noise(1, 5 * STRIDE)
    files = {"a": b"head" + weights, "b": other, "c": b"longer head" + other + b"-" + weights}
    shared = {file.name: file for file in share(files)}
    assert joined(files) == files
    assert len(shared["c"].own) == len(b"longer head-")
    assert [part.source for part in shared["c"].parts] == ["", "b", "", "a"]


@pytest.mark.parametrize("data", [b"", b"x", bytes(5 * STRIDE)])
def test_small_and_blank_files(data):
    assert joined({"a": data, "b": data}) == {"a": data, "b": data}


@pytest.mark.slow
def test_a_bundle_shares_its_weights(exported):
    """The loss graph adds nearly nothing, if the weights are long enough to be found."""
    from vae_runtime import Bundle

    bundle = Bundle(exported(shape=(64, 64, 1)))
    names = ("encoder.onnx", "decoder.onnx", "loss.onnx")
    files = {name: bundle.read(name) for name in names}
    *_, loss = share(files)
    assert joined(files) == files
    assert len(loss.own) < len(files["loss.onnx"]) / 3
