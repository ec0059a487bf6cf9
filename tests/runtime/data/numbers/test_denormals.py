"""Denormal numbers never reach a graph: many processors need 100 times as long for them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import vae_runtime
from vae_runtime.data.numbers.denormals import flush_denormals, without_denormals
from vae_runtime.data.samples.inputs import to_graph_input
from vae_runtime.errors import InputError

TINY = float(np.finfo(np.float32).tiny)
EDGES = [0.0, 1e-45, -1e-45, 1e-39, -1e-39, TINY, -TINY, 0.5, 1.0, np.nextafter(np.float32(1), 2)]
EDGES += [np.float32(1.1754942e-38), -0.0, 3.4028235e38, np.inf, -np.inf, np.nan]


def denormal(x):
    """Tell which values are denormal, computed in float64, which holds them as normal numbers."""
    return (x.astype(np.float64) != 0) & (np.abs(x.astype(np.float64)) < TINY)


@pytest.mark.parametrize("size", [4, 40])  # below and above the size of the Python loop
@pytest.mark.parametrize("value_range", [(0.0, 1.0), None])
@given(data=st.data())
def test_denormals_become_zeros_and_faults_are_told(size, value_range, data):
    elements = st.sampled_from(EDGES).map(float) | st.floats(0, 1, width=32)
    values = data.draw(hnp.arrays(np.float32, 4, elements=elements))
    x = np.resize(values, (size // 4, 4))
    low, high = value_range or (-3.5e38, 3.5e38)
    exact = x.astype(np.float64)
    good = bool((np.isfinite(exact) & (exact >= low) & (exact <= high)).all())
    found, in_range = flush_denormals(x, value_range)
    if in_range != good:  # a negative zero only takes the slower way
        assert good and (np.signbit(x) & (x == 0)).any()
    if good or value_range is None:
        assert not denormal(found).any()
    if not denormal(x).any():
        assert found is x
    np.testing.assert_array_equal(found, np.where(denormal(found) | ~denormal(x), x, 0))
    np.testing.assert_array_equal(without_denormals(x), np.where(denormal(x), 0, x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("check", [True, False])
def test_graph_inputs_hold_no_denormals_and_the_array_is_not_changed(dtype, check):
    x = np.geomspace(1e-45, 1, 200).astype(dtype).reshape(10, 20)
    before = x.copy()
    found = to_graph_input(x, "float32", (0.0, 1.0), check=check)
    assert denormal(x.astype(np.float32)).any() and not denormal(found).any()
    np.testing.assert_array_equal(found, np.where(before < TINY, 0, before).astype(np.float32))
    np.testing.assert_array_equal(x, before)


def test_faults_are_found_beside_denormals():
    x = np.full((3, 20), 1e-39, np.float32)
    x[2, 7] = np.nan
    with pytest.raises(InputError, match="sample 2 has 1 values that are NaN"):
        to_graph_input(x, "float32", (0.0, 1.0))


def test_normal_values_are_not_copied():
    x = np.linspace(0, 1, 40, dtype=np.float32).reshape(2, 20)
    assert np.shares_memory(to_graph_input(x, "float32", (0.0, 1.0)), x)


def test_no_graph_gets_denormals(exported, monkeypatch):
    vae = vae_runtime.load(exported(), threads=1)
    seen = {}
    original = vae._chunks.sessions.run

    def run(graph, inputs, **options):
        seen.update({(graph, name): value for name, value in inputs.items()})
        return original(graph, inputs, **options)

    monkeypatch.setattr(vae._chunks.sessions, "run", run)
    fade = np.geomspace(1e-45, 1, 64).astype(np.float32).reshape(1, 8, 8, 1)
    z = np.array([[1e-40, -1e-40, 1.0]], np.float32)
    flushed = np.where(denormal(fade), 0, fade)
    found, expected = vae.loss(fade, z), vae.loss(flushed, np.where(denormal(z), 0, z))
    assert found.loss == expected.loss
    vae.encode(fade)
    vae.decode(z)
    assert len(seen) == 4
    assert not any(denormal(value).any() for value in seen.values())
