"""Terms of elements, beside formulas in float64; they add up to the decoder's part of a score."""

import numpy as np
import pytest

from vae_runtime.bundle.scores import SCORE_NAMES
from vae_runtime.decision.elements import element_terms
from vae_runtime.decision.score import excess_loss, squared_error
from vae_runtime.loss import LossSpec, losses

SHAPE = (3, 2, 2)
SPECS = {
    "logits": LossSpec("bce", 0.7),
    "probabilities": LossSpec("bce", 0.7, decoder="probabilities"),
    "mse": LossSpec("mse", 0.7),
    "gaussian": LossSpec("gaussian", 0.7, variance=2.5),
    "two heads": LossSpec("gaussian", 0.7, decoder="mean_log_var"),
}


def made(kind):
    """Return x, the decoder's output, the reconstruction and the log variance of each element."""
    rng = np.random.default_rng(4)
    x = rng.random((6, *SHAPE), dtype=np.float32)
    x[0] = np.round(x[0])
    values = rng.standard_normal(x.shape).astype(np.float32)
    log_var = rng.standard_normal(x.shape).astype(np.float32)
    if kind == "logits":
        return x, values, 1 / (1 + np.exp(-np.float64(values))), None
    if kind == "probabilities":
        values = np.float32(1 / (1 + np.exp(-values)))
    if kind == "two heads":
        return x, {"mean": values, "log_var": log_var}, np.float64(values), np.float64(log_var)
    return x, values, np.float64(values), None


def part_of(kind, name):
    """Return the part of a score that the decoder gives."""
    if name == "combined":
        return "squared_error" if kind in ("logits", "probabilities") else "excess_loss"
    return "squared_error" if name == "novelty" else name


def expected(kind, name, x, r, log_var):
    """Return the terms, element by element."""
    x, name = np.float64(x), part_of(kind, name)
    if name not in ("loss", "excess_loss") or kind == "mse":
        return (x - r) ** 2
    if kind in ("logits", "probabilities"):
        entropy = np.zeros_like(x)
        inside = (x > 0) & (x < 1)
        v = x[inside]
        entropy[inside] = -v * np.log(v) - (1 - v) * np.log(1 - v)
        cross = -x * np.log(r) - (1 - x) * np.log(1 - r)
        return cross - (entropy if name == "excess_loss" else 0)
    variance = np.full_like(x, 2.5) if log_var is None else np.exp(log_var)
    density = np.exp(-((x - r) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    highest = 1 / np.sqrt(2 * np.pi * variance)
    return -np.log(density / (highest if name == "excess_loss" else 1))


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("name", SCORE_NAMES)
def test_terms_of_each_element(kind, name):
    x, output, r, log_var = made(kind)
    found = element_terms(name, SPECS[kind], x, output)
    assert (found.shape, found.dtype) == (x.shape, np.float64)
    np.testing.assert_allclose(found, expected(kind, name, x, r, log_var), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("name", SCORE_NAMES)
def test_terms_add_up_to_the_part_of_the_decoder(kind, name):
    x, output, *_ = made(kind)
    z = np.zeros((len(x), 2), np.float32)  # no KL loss: what is left comes from the decoder
    parts = losses(np, SPECS[kind], x, output, z, z)
    part = part_of(kind, name)
    if part == "loss":
        total = parts.reconstruction_loss
    elif part == "excess_loss":
        total = excess_loss(np, SPECS[kind], x, output, parts)
    else:
        total = squared_error(np, SPECS[kind], x, output)
    found = element_terms(name, SPECS[kind], x, output).reshape(len(x), -1).sum(axis=1)
    np.testing.assert_allclose(found, total, rtol=1e-5, atol=1e-5)


def test_a_changed_element_has_the_largest_term():
    x = np.full((1, 5), 0.5, np.float32)
    x[0, 3] = 2.0
    terms = element_terms("combined", LossSpec("mse"), x, np.full((1, 5), 0.5, np.float32))
    np.testing.assert_array_equal(terms, [[0, 0, 0, 2.25, 0]])
