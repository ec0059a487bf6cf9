"""Losses of held-out samples against a literal computation."""

import numpy as np
import pytest

from vae_builder import VAE, LossSpec, build_models, evaluate


@pytest.mark.parametrize("reconstruction", ["bce", "mse"])
def test_evaluate_against_numpy(reconstruction):
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
        found = evaluate(vae, x, seed=(3, 4), batch_size=batch_size)
        assert found.reconstruction_loss == pytest.approx(reconstruction_loss, rel=1e-5)
        assert found.kl_loss == pytest.approx(kl, rel=1e-5)
        assert found.loss == pytest.approx(reconstruction_loss + 2 * kl, rel=1e-5)
    assert evaluate(vae, x, seed=(3, 5)) != evaluate(vae, x, seed=(3, 4))
    eight_bit = evaluate(vae, pixels, seed=(3, 4))
    assert eight_bit == evaluate(vae, x, seed=(3, 4))
