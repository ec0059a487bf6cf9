"""The scorer of a bundle: its score from graphs' outputs, and the constants in `novelty.npz`."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from sealing import seal
from vae_runtime import Bundle, BundleError
from vae_runtime.bundle.scores import SCORE_NAMES, PartSpec
from vae_runtime.decision.score import LowRankGaussian
from vae_runtime.decision.scorer import Novelty, novelty_arrays, read_novelty, read_scorer
from vae_runtime.files.npz import npz_bytes
from vae_runtime.loss import Losses


def outputs(path, x):
    """Return the outputs of the decoder at z_mean, of the encoder and of the score graph."""
    found = {}
    for graph in ("encoder", "decoder", "score"):
        session = onnxruntime.InferenceSession(
            path / f"{graph}.onnx", providers=["CPUExecutionProvider"]
        )
        feed = {"z": found["z_mean"]} if graph == "decoder" else {"x": x}
        names = [tensor.name for tensor in session.get_outputs()]
        found |= dict(zip(names, session.run(names, feed), strict=True))
    return found


def own_score(name, path, x, found):
    """Return the score in float64, from the files of a bundle, without vae_runtime."""
    manifest = json.loads((path / "manifest.json").read_bytes())["score"]
    parts = {}
    if name in ("squared_error", "combined"):
        error = np.float64(x) - 1 / (1 + np.exp(-np.float64(found["logits"])))
        parts["squared_error"] = (error**2).reshape(len(x), -1).sum(axis=1)
    if name == "squared_error":
        return parts["squared_error"]
    if name == "loss":
        return np.float64(found["loss"])
    if name == "excess_loss":
        v = np.float64(x)
        entropy = -(v * np.log(v) + (1 - v) * np.log(1 - v)).reshape(len(x), -1).sum(axis=1)
        return found["loss"] - entropy
    arrays, start = np.load(path / "novelty.npz"), 0
    for i, spec in enumerate(manifest["novelty"]["activations"], 1):
        h = np.float64(found["activations"][:, start : start + spec["size"]])
        start += spec["size"]
        axes = np.float64(arrays[f"axes_{i}"])
        *variances, rest = np.float64(arrays[f"variances_{i}"])
        beside = rest * (np.eye(len(axes)) - axes @ axes.T)
        inverse = np.linalg.inv(axes @ np.diag(variances) @ axes.T + beside)
        centered = h - arrays[f"center_{i}"]
        parts[f"novelty_{i}"] = np.einsum("ni,ij,nj->n", centered, inverse, centered)
    score = 0
    for part, stated in manifest["parts"].items():
        u = (np.log(parts[part]) - stated["mean"]) / stated["std"]
        score = score + np.logaddexp(0, 2 * u) ** 2 / 8
    return score


@pytest.mark.parametrize("name", SCORE_NAMES)
def test_score_graph_and_numpy_give_the_formula(exported, name):
    path = exported(score=name)
    x = np.random.default_rng(5).uniform(0.01, 0.99, (7, 8, 8, 1)).astype(np.float32)
    found = outputs(path, x)
    expected = own_score(name, path, x, found)
    np.testing.assert_allclose(found["score"], expected, rtol=2e-4)
    scorer = read_scorer(Bundle(path))
    at_mean = Losses(*(found[part] for part in ("reconstruction_loss", "kl_loss", "loss")))
    fit = scorer.fit(np, x, found["logits"], at_mean)
    assert (fit is None) == (name == "novelty")
    score = scorer.score(np, fit, found.get("activations"))
    np.testing.assert_allclose(score, expected, rtol=2e-4)


@pytest.fixture
def combined(exported, tmp_path):
    return Path(shutil.copytree(exported(score="combined"), tmp_path / "combined"))


def test_constants_are_read_back(combined):
    bundle = Bundle(combined)
    spec = bundle.manifest.score.novelty
    novelty = read_novelty(bundle, spec)
    stored = np.load(combined / "novelty.npz")
    arrays = novelty_arrays(novelty)
    assert list(arrays) == stored.files
    for name, array in arrays.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, stored[name])
    assert [g.axes.shape for g in novelty.gaussians] == [(a.size, a.axes) for a in spec.activations]
    assert novelty.coordinates.shape == (spec.prototypes, sum(a.axes for a in spec.activations))
    assert novelty.z_mean.shape == (spec.prototypes, bundle.manifest.latent_dim)


def test_the_last_variance_is_that_of_the_rest():
    gaussian = LowRankGaussian(
        np.zeros(3, np.float32), np.eye(3, 2, dtype=np.float32), np.array([2, 1], np.float32),
        np.float32(0.5),
    )  # fmt: skip
    condition = np.ones((4, 2), np.float32)
    novelty = Novelty((gaussian,), np.ones((4, 2)), np.ones((4, 1)), condition)
    arrays = novelty_arrays(novelty)
    np.testing.assert_array_equal(arrays["variances_1"], np.float32([2, 1, 0.5]))
    assert arrays["condition"] is condition


@pytest.mark.parametrize(
    ("change", "reason"),
    [("shape", "center_1"), ("missing", "axes_2"), ("dtype", "z_mean")],
)
def test_a_damaged_file_is_refused(combined, change, reason):
    arrays = dict(np.load(combined / "novelty.npz"))
    if change == "shape":
        arrays["center_1"] = arrays["center_1"][:-1]
    elif change == "missing":
        del arrays["axes_2"]
    else:
        arrays["z_mean"] = arrays["z_mean"].astype(np.float64)
    seal(combined, "novelty.npz", npz_bytes(arrays))
    with pytest.raises(BundleError, match=rf"novelty\.npz: .*{reason}.*the bundle is damaged"):
        read_scorer(Bundle(combined))


def test_a_bundle_without_a_score_has_no_scorer(combined):
    def without(manifest):
        for field in ("score",):
            del manifest[field], manifest["graphs"][field]
        arrays = {
            "score",
            "activations",
            "score_loss",
            "score_kl_loss",
            "score_reconstruction_loss",
        }
        assert arrays <= set(np.load(combined / "parity.npz"))

    seal(combined, "README.md", b"", without)
    assert read_scorer(Bundle(combined)) is None


def test_the_names_of_parts_follow_from_the_score(exported):
    for name, expected in {
        "loss": [],
        "squared_error": [],
        "novelty": ["novelty_1", "novelty_2"],
        "combined": ["squared_error", "novelty_1", "novelty_2"],
    }.items():
        scorer = read_scorer(Bundle(exported(score=name)))
        assert list(scorer.parts) == expected
        assert all(isinstance(part, PartSpec) for part in scorer.parts.values())
