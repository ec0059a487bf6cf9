"""Losses of samples, compared with NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from vae_builder import VAE, LossSpec, build_models, evaluate
from vae_builder.training.evaluation import describe_latents


@pytest.mark.parametrize("reconstruction", ["bce", "mse"])
def test_evaluate_agrees_with_numpy(reconstruction, monkeypatch):
    vae = VAE(*build_models("dense", (6, 6, 1), 2, (6,)), LossSpec(reconstruction, 2.0))
    pixels = np.random.default_rng(0).integers(0, 256, (13, 6, 6, 1)).astype(np.uint8)
    x = pixels.astype(np.float32) / np.float32(255)
    eps = np.random.default_rng((3, 4)).standard_normal((13, 2), dtype=np.float32)
    code = {name: value.numpy().astype(float) for name, value in vae.encoder(x).items()}
    z = code["z_mean"] + np.exp(code["z_log_var"] / 2) * eps
    output = vae.decoder(z.astype(np.float32)).numpy().astype(float)
    if reconstruction == "bce":
        p = 1 / (1 + np.exp(-output))
        element = -(x * np.log(p) + (1 - x) * np.log(1 - p))
    else:
        element = (x - output) ** 2
    reconstruction_loss = element.sum((1, 2, 3)).mean()
    variance = np.exp(code["z_log_var"])
    kl = 0.5 * (variance + code["z_mean"] ** 2 - 1 - np.log(variance)).sum(1).mean()
    for batch_size in (4, 13, 500):
        monkeypatch.setattr("vae_builder.training.evaluation.MAX_BATCH_SAMPLES", batch_size)
        found = evaluate(vae, x, seed=(3, 4))
        assert found.reconstruction_loss == pytest.approx(reconstruction_loss, rel=1e-5)
        assert found.kl_loss == pytest.approx(kl, rel=1e-5)
        assert found.loss == pytest.approx(reconstruction_loss + 2 * kl, rel=1e-5)
    assert evaluate(vae, x, seed=(3, 5)) != evaluate(vae, x, seed=(3, 4))
    eight_bit = evaluate(vae, pixels, seed=(3, 4))
    assert eight_bit == evaluate(vae, x, seed=(3, 4))


@pytest.mark.parametrize(
    ("shape", "sizes"), [((28, 28, 1), [500, 20]), ((128, 128, 3), [7] * 74 + [2])]
)
def test_batches_are_smaller_for_larger_samples(shape, sizes):
    """A batch has at most as many elements as 500 images of 28 x 28."""
    batch_sizes, drawn = [], []

    class Model:
        latent_shape = (2,)

        def test_losses(self, x, eps):
            batch_sizes.append(x.shape[0])
            drawn.append(eps.numpy())
            return tf.zeros((3, len(x)))

        def prepared(self, x):
            batch_sizes.append(x.shape[0])
            return x

        def encoder(self, x, training):
            return dict.fromkeys(("z_mean", "z_log_var"), tf.zeros((len(x), 2)))

    x = np.broadcast_to(np.float32(0), (520, *shape))
    evaluate(Model(), x, seed=(3,))
    eps = np.random.default_rng((3,)).standard_normal((520, 2), dtype=np.float32)
    np.testing.assert_array_equal(np.concatenate(drawn), eps)
    assert len(describe_latents(Model(), x).kl_per_dimension) == 2
    assert batch_sizes == sizes * 2
    assert max(sizes) * np.prod(shape) <= 500 * 784
