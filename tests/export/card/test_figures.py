"""Figures of a card: which are drawn, and that each shows the results of its model."""

from dataclasses import replace

import numpy as np
import pytest

from png_files import read_png
from vae_builder import build_models
from vae_export import Curve
from vae_export.card.figure_data import MAX_SHOWN, BatchedModel
from vae_export.card.figures import draw_figures
from vae_export.graphs.functions import exported_functions
from vae_runtime import Bundle, Latents, Losses, LossSpec, load
from vae_runtime.bundle.fields import TrainingSpec
from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.data.pictures.picture_grid import grid, to_unit_range

CURVE = Curve([Losses(3.0, 1.0, 4.0)] * 2, [Losses(3.0, 1.0, 4.0)] * 2)


@pytest.fixture
def draw(exported, small_models, tmp_path):
    """A function that draws the figures of a small model, and returns them and their folder."""

    def make(samples, curve=None, latent_dim=3, folder="a", training=None, **changes):
        shape = samples.shape[1:]
        manifest = replace(Bundle(exported()).manifest, training=training, latent_dim=latent_dim)
        manifest = replace(manifest, input=replace(manifest.input, shape=shape))
        functions = exported_functions(
            *small_models("dense", shape, latent_dim), LossSpec(), InputSpec(shape)
        )
        path = tmp_path / folder
        path.mkdir()
        return draw_figures(path, {**functions, **changes}, manifest, samples, curve), path

    return make


def pixels(n, shape):
    return np.random.default_rng(5).integers(0, 256, (n, *shape), dtype=np.uint8)


PICTURES = ["reconstructions", "samples", "latent_plane", "latent_kl"]


@pytest.mark.parametrize(
    ("shape", "curve", "names"),
    [
        ((8, 8, 1), CURVE, ["training", *PICTURES]),
        ((6, 9, 3), None, PICTURES),
        ((8, 8, 4), None, ["latent_plane", "latent_kl"]),
        ((5,), None, ["reconstructions", "latent_plane", "latent_kl"]),
        ((7, 6), None, ["reconstructions", "latent_plane", "latent_kl"]),
        ((3, 6, 5, 1), None, PICTURES),
    ],
)
@pytest.mark.parametrize(("n", "latent_dim"), [(1, 1), (12, 3)])
def test_which_figures_are_drawn(shape, curve, names, n, latent_dim, draw):
    figures, folder = draw(pixels(n, shape), curve, latent_dim)
    assert [figure.path for figure in figures] == [f"figures/{name}.png" for name in names]
    assert {path.name for path in (folder / "figures").iterdir()} == {f"{n}.png" for n in names}
    for figure in figures:
        assert (folder / figure.path).read_bytes().startswith(b"\x89PNG")
        assert figure.alt and figure.caption.endswith(".") and "\n" not in figure.caption


def test_without_samples_only_the_curve_is_drawn(draw):
    samples = pixels(0, (8, 8, 1))
    assert [figure.path for figure in draw(samples, CURVE)[0]] == ["figures/training.png"]


def test_the_same_model_gives_the_same_bytes(draw):
    figures, one = draw(pixels(30, (8, 8, 1)), CURVE, folder="one")
    _, two = draw(pixels(30, (8, 8, 1)), CURVE, folder="two")
    for figure in figures:
        assert (one / figure.path).read_bytes() == (two / figure.path).read_bytes(), figure.path


def test_samples_equal_those_of_the_runtime(exported):
    """The call in the caption gives the same samples with ONNX Runtime."""
    path = exported(figures=True)
    assert "`vae.sample(50, seed=0)`" in (path / "README.md").read_text()
    expected = grid(load(path).sample(50, seed=0), columns=10, padding=0)
    image = read_png(path / "figures/samples.png")
    tiles = [image[top : top + 88 : 11] for top in range(0, image.shape[0], 90)]
    tiles = [row[:, left : left + 88 : 11] for row in tiles for left in range(0, row.shape[1], 90)]
    found = grid(np.stack(tiles), columns=10, padding=0)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_reconstructions_equal_those_of_the_model(draw, small_models):
    samples = pixels(3, (8, 8, 1))
    _, folder = draw(samples)
    encoder, decoder = small_models()
    x = samples.astype(np.float32) / 255
    expected = 1 / (1 + np.exp(-decoder(encoder(x)["z_mean"]).numpy()))
    image = read_png(folder / "figures/reconstructions.png")
    assert image.shape == (2 * 88 + 2, 3 * 88 + 4, 1)
    for i in range(3):
        tile = image[90::11, i * 90 : i * 90 + 88 : 11].astype(float)
        assert np.abs(tile - 255 * to_unit_range(expected[i])).max() <= 1
        np.testing.assert_array_equal(image[:88:11, i * 90 : i * 90 + 88 : 11], samples[i])


def test_kl_is_taken_from_the_manifest_if_training_is_known(draw, monkeypatch):
    drawn = []
    monkeypatch.setattr("vae_export.card.plots.draw_kl", lambda *arguments: drawn.append(arguments))
    training = TrainingSpec({}, 1, 1.0, None, None, Latents(2, (7.0, 4.0, 0.5)))
    samples = pixels(20, (8, 8, 1))
    assert "over test samples" in draw(samples, training=training)[0][-1].caption
    assert "over held-out samples" in draw(samples, folder="b")[0][-1].caption
    (kl, active, _), (computed, _, _) = drawn
    assert kl == (7.0, 4.0, 0.5) and active.sum() == 2
    assert computed != kl and len(computed) == 3


def test_dimensions_that_vary_are_active(draw, monkeypatch):
    drawn = []
    monkeypatch.setattr("vae_export.card.plots.draw_kl", lambda *arguments: drawn.append(arguments))

    def encode(x):
        import tensorflow as tf

        mean = tf.reduce_mean(x, axis=[1, 2])
        return {
            "z_mean": tf.concat([0 * mean, 10 * mean, mean / 10], axis=1),
            "z_log_var": tf.zeros((len(x), 3)),
        }

    draw(
        np.broadcast_to(np.arange(0, 250, 10, dtype=np.uint8)[:, None, None, None], (25, 8, 8, 1)),
        encoder=encode,
    )
    assert drawn[0][1].tolist() == [False, True, False]


def test_samples_without_finite_codes_are_not_in_the_figures():
    encoder, decoder = build_models("dense", (4,), 2, (5,), seed=1)
    model = BatchedModel(
        exported_functions(encoder, decoder, LossSpec("mse"), InputSpec((4,))),
        LossSpec("mse"),
        InputSpec((4,)),
    )
    x = np.zeros((4, 4), np.float32)
    x[1], x[2] = np.nan, 3e38
    held_out = model.encode(x)
    assert len(held_out.x) == len(held_out.z_mean) == len(held_out.reconstruction_loss) == 2
    np.testing.assert_array_equal(held_out.x, 0)
    assert np.abs(model.decode(np.full((1, 2), 3e38, np.float32))).max() <= MAX_SHOWN


def test_many_and_large_samples_are_computed_in_batches(small_models):
    encoder, decoder = small_models("dense", (40, 40, 1))
    sample = InputSpec((40, 40, 1))
    functions = exported_functions(encoder, decoder, LossSpec(), sample)
    sizes = []

    def encode(x):
        sizes.append(len(x))
        return functions["encoder"](x)

    x = pixels(1300, (40, 40, 1)).astype(np.float32) / 255
    held_out = BatchedModel({**functions, "encoder": encode}, LossSpec(), sample).encode(x)
    assert sizes == [500, 500, 300]
    np.testing.assert_allclose(held_out.z_mean, encoder(x)["z_mean"], rtol=1e-4, atol=1e-5)
    eps = np.zeros((1300, 3), np.float32)
    expected = functions["loss"](x, eps)["reconstruction_loss"]
    np.testing.assert_allclose(held_out.reconstruction_loss, expected, rtol=1e-5)
    assert BatchedModel(functions, LossSpec(), InputSpec((1024, 2048, 1)))._batch == 1
