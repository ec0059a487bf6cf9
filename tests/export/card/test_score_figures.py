"""Figures of a score on the card: which are drawn, and what anomaly is made."""

import numpy as np
import pytest

from vae_builder import build_models
from vae_export import export
from vae_export.card import score_plots
from vae_export.card.readme import SCORE_FIGURES_HEADING
from vae_runtime import Bundle, LossSpec, load
from vae_runtime.quality.calibrate import calibrate


@pytest.fixture
def drawn(monkeypatch):
    """The anomalies that were drawn, and the scores of the check samples."""
    found = {}

    def record(name):
        original = getattr(score_plots, name)

        def draw(first, *arguments):
            found[name] = (first, *arguments)
            original(first, *arguments)

        monkeypatch.setattr(score_plots, name, draw)

    for kind in ("picture", "vector", "series"):
        record(f"draw_{kind}_anomaly")
    record("draw_calibration")
    return found


CASES = [
    ((8, 8, 1), "bce", "picture", "float32"),
    ((9, 6, 3), "mse", "picture", "float32"),
    ((8, 8, 1), "bce", "picture", "uint8"),
    ((3, 6, 8, 1), "mse", "picture", "float32"),
    ((11,), "mse", "vector", "float32"),
    ((7, 3), "mse", "series", "float32"),
    ((6, 6, 5), "mse", None, "float32"),
]


@pytest.mark.parametrize(("shape", "reconstruction", "kind", "dtype"), CASES)
def test_which_anomaly_is_made(tmp_path, drawn, shape, reconstruction, kind, dtype):
    rng = np.random.default_rng(1)
    models = build_models("dense", shape, 2, (8, 6), seed=1)
    x = rng.random((40, *shape), dtype=np.float32)
    if dtype == "uint8":
        x = np.round(255 * x).astype(np.uint8)
    loss, path = LossSpec(reconstruction), tmp_path / "vae"
    export(*models, x, path, loss=loss, input_dtype=dtype)
    names = {file.name for file in (path / "figures").iterdir()}
    assert "calibration.png" in names
    assert ("anomaly.png" in names) == (kind is not None)
    _, spec, check, _ = drawn["draw_calibration"]
    assert (spec.samples, len(check)) == (20, 20)
    np.testing.assert_allclose(
        np.mean(load(path).calibration.p_values(check) <= 0.1), spec.levels[0].found
    )
    assert set(drawn) == {"draw_calibration", *([f"draw_{kind}_anomaly"] if kind else [])}
    if kind is None:
        return
    anomaly = drawn[f"draw_{kind}_anomaly"][0]
    changed = anomaly.changed != anomaly.normal
    size = changed.sum()
    if kind == "picture":
        height, width = anomaly.normal.shape[:2]
        square = round(height / 4) * round(width / 4)
        assert square / 2 <= size / anomaly.normal.shape[-1] <= square
        assert len(np.unique(anomaly.changed[changed])) == 1
    else:
        assert size == 1
        assert (anomaly.unusual * changed).sum() == anomaly.unusual.max()
        assert anomaly.p_values[1] <= anomaly.p_values[0]
    assert anomaly.p_values[0] == pytest.approx(0.5, abs=0.3)  # the median of the check samples


def test_conditions_are_passed_on(tmp_path, drawn):
    import keras

    from vae_runtime.data.samples.conditions import Conditions, ConditionSpec

    x, c, z = keras.Input((6,)), keras.Input((2,)), keras.Input((2,))
    h = keras.layers.Dense(8, activation="tanh")(keras.layers.Concatenate()([x, c]))
    heads = {name: keras.layers.Dense(2)(h) for name in ("z_mean", "z_log_var")}
    decoder = keras.Model([z, c], keras.layers.Dense(6)(keras.layers.Concatenate()([z, c])))
    rng = np.random.default_rng(0)
    samples, rows = rng.random((30, 6), np.float32), rng.random((30, 2), np.float32)
    export(
        keras.Model([x, c], heads),
        decoder,
        samples,
        tmp_path / "vae",
        loss=LossSpec("mse"),
        conditions=Conditions(ConditionSpec((2,), None), rows),
    )
    anomaly = drawn["draw_vector_anomaly"][0]
    row = int(np.flatnonzero((samples == anomaly.normal).all(axis=1))[0])
    vae = load(tmp_path / "vae")
    expected = vae.reconstruct(anomaly.changed[None], condition=rows[row : row + 1])[0]
    np.testing.assert_allclose(anomaly.reconstruction, expected, rtol=1e-4, atol=1e-5)


def section(card, heading):
    return card.split(f"\n{heading}\n")[1].split("\n## ")[0]


def test_the_card_shows_the_figures_after_the_thresholds(exported, tmp_path):
    path = exported(score="combined", figures=True)
    card = (path / "README.md").read_text("utf-8")
    text = section(card, "## Anomaly score")
    level = Bundle(path).manifest.score.calibrations["float32"].levels[0]
    assert f"{level.upper:.6g}" in text and "figures/" not in text
    figures = section(card, SCORE_FIGURES_HEADING)
    assert "](figures/calibration.png)" in figures and "](figures/anomaly.png)" in figures
    assert "The calibration of the export." in figures
    assert card.index("## Anomaly score") < card.index(SCORE_FIGURES_HEADING)


def test_figures_stay_if_a_device_calibrates(exported, tmp_path):
    path = exported(score="combined", figures=True)
    x = np.random.default_rng(0).random((60, 8, 8, 1))
    calibrate(path, x, output=tmp_path / "new")
    old, new = ((p / "README.md").read_text("utf-8") for p in (path, tmp_path / "new"))
    assert section(old, SCORE_FIGURES_HEADING) == section(new, SCORE_FIGURES_HEADING)
    assert section(old, "## Anomaly score") != section(new, "## Anomaly score")
    assert (tmp_path / "new" / "figures" / "anomaly.png").is_file()


def test_a_model_without_a_score_has_no_section(tmp_path):
    models = build_models("dense", (5,), 2, (4,))
    x = np.random.default_rng(0).random((7, 5), dtype=np.float32)
    path = tmp_path / "vae"
    export(*models, x, path, loss=LossSpec("mse"))  # 7 samples are too few to calibrate one
    assert Bundle(path).manifest.score is None
    card = (path / "README.md").read_text("utf-8")
    assert "nomaly score" not in card
    assert not (path / "figures" / "calibration.png").exists()
