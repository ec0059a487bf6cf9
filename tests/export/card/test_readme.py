"""The model card: it states the facts of the manifest, and its code runs."""

import re
from dataclasses import replace

import numpy as np
import pytest

from vae_export.card.figures import SAMPLES, TRAINING, CardFigure
from vae_export.card.readme import model_card
from vae_runtime import Bundle, Latents, Losses
from vae_runtime.bundle.fields import DataSpec, TrainingSpec
from vae_runtime.explained import Explained


@pytest.fixture
def manifest(exported):
    return Bundle(exported("dense", "bce", kl_weight=0.5)).manifest


def trained(manifest):
    training = TrainingSpec(
        options={"preset": "dense", "hidden": (8, 6), "patience": None, "seed": 0},
        parameters=12345,
        seconds=61.4,
        validation=Losses(90.125, 10.0, 95.125),
        test=Losses(91.5, 11.0, 97.0),
        latents=Latents(2, (7.0, 4.0, 0.0)),
    )
    data = DataSpec("faces.npz", "0" * 64, 900, 50, 50, 0, None)
    return replace(manifest, training=training, data=data)


def test_facts(manifest):
    card = model_card(trained(manifest), ())
    assert card.startswith("# small-vae\n")
    for fact in (
        "samples of shape (8, 8, 1) with 3 latent\ndimensions",
        "computed on 13 fixed inputs",
        "`loss = reconstruction_loss + 0.5 * kl_loss`",
        "binary cross-entropy of the decoder's logits",
        "Inputs are float32 in [0, 1]",
        "Trained on 900 samples of `faces.npz` in 61 s. The model has 12,345 weights. Options: "
        "preset `dense`, hidden `8,6`, seed `0`.",
        "2 of 3 latent dimensions are active.",
        "| mean per sample, nats | reconstruction_loss | kl_loss | loss |",
        "| validation | 90.12 | 10.00 | 95.12 |",
        "| test | 91.50 | 11.00 | 97.00 |",
        "| decoder | `decoder.onnx` | `z` (batch, 3) | `logits` (batch, 8, 8, 1), "
        "`reconstruction` (batch, 8, 8, 1) |",
        "| loss | `loss.onnx` | `x` (batch, 8, 8, 1), `eps` (batch, 3) | `reconstruction_loss` "
        "(batch,), `kl_loss` (batch,), `loss` (batch,) |",
    ):
        assert fact in card, fact


def test_what_the_model_explains(manifest):
    good, bad = Explained(91.5, 200.0, 40.0), Explained(195.0, 200.0, 40.0)
    card = model_card(trained(manifest), (), good)
    assert (
        "Test samples: reconstruction loss 91.50; predicting the training mean gives 200.00, a "
        "perfect reconstruction 40.00.\n"
    ) in card
    assert "Warning" not in card
    assert f"**Warning:** {bad.warning()}.\n" in model_card(trained(manifest), (), bad)


def test_figures_and_captions_are_in_their_sections(manifest):
    figures = (CardFigure(TRAINING, "a curve", "It falls."), CardFigure(SAMPLES, "digits", "Ten."))
    card = model_card(trained(manifest), figures)
    curve = "\n\n![a curve](figures/training.png)\n\nIt falls.\n\n"
    digits = "\n\n## What it does\n\n![digits](figures/samples.png)\n\nTen.\n\n"
    scored = card.index(f"{digits}## Anomaly score\n")
    assert card.index("## Training") < card.index(curve) < scored < card.index("\n## Use\n")
    assert f"{digits}## Use\n" in model_card(replace(trained(manifest), score=None), figures)
    assert "## What it does" not in model_card(manifest, figures[:1])


def test_a_card_without_training_has_no_such_section(manifest):
    card = model_card(manifest, ())
    assert "## Training" not in card and "figures/" not in card and "unknown" not in card


def test_squared_error_is_not_called_nats(exported):
    manifest = Bundle(exported("dense", "mse")).manifest
    card = model_card(trained(manifest), ())
    assert "the squared error, summed" in card
    assert "| mean per sample, squared error |" in card
    assert "of any finite value" in card and "[0, 1]" not in card


def test_a_card_for_uint8_says_so(exported):
    card = model_card(Bundle(exported(input_dtype="uint8")).manifest, ())
    assert "x: (n, 8, 8, 1), uint8\n" in card and "`x` is uint8, all other tensors" in card


def test_every_figure_and_file_named_by_a_card_exists(exported):
    path = exported(figures=True)
    card = (path / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", card)
    assert links == [
        "figures/reconstructions.png",
        "figures/samples.png",
        "figures/latent_plane.png",
        "figures/latent_kl.png",
        "figures/calibration.png",
        "figures/anomaly.png",
    ]
    for file in (*links, *re.findall(r"`([a-z.]+\.(?:onnx|npz|json))`", card)):
        assert (path / file).is_file()


def test_code_of_the_card_runs(exported, monkeypatch, capsys):
    path = exported()
    monkeypatch.chdir(path)
    blocks = re.findall(r"```python\n(.*?)```", (path / "README.md").read_text(), re.S)
    assert len(blocks) == 2
    names = {"x": np.random.default_rng(0).random((3, 8, 8, 1), dtype=np.float32)}
    exec(blocks[0], names)
    assert "PASSED" in capsys.readouterr().out
    assert names["images"].shape == (3, 8, 8, 1)
    with_runtime = names["losses"]
    exec(blocks[1], names)
    np.testing.assert_allclose(names["loss"], with_runtime.loss, rtol=1e-5)
    np.testing.assert_allclose(names["kl_loss"], with_runtime.kl_loss, rtol=1e-5)
