"""Plots: the given numbers are found in the pixels and in the axes."""

from itertools import pairwise

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from vae_export.card.plots import Curve, draw_elements, draw_kl, draw_training
from vae_runtime import Losses

BLUE, GREY = "#1a5fb4", "#9aa0a6"


@pytest.fixture
def axes(monkeypatch):
    """The axes of the last figure, as they were when it was written."""
    found = []
    save = Figure.savefig

    def keep(figure, *args, **options):
        found[:] = figure.axes
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return found


def curve(epochs):
    train = [Losses(100.0 / e, 5.0 * e, 100 / e + 5 * e) for e in range(1, epochs + 1)]
    return Curve(train, [Losses(p.reconstruction_loss + 9, p.kl_loss, p.loss + 9) for p in train])


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_training_curve(epochs, tmp_path):
    path = tmp_path / "training.png"
    draw_training(curve(epochs), "nats", path)
    image = matplotlib.image.imread(path)
    assert image.shape == (336, 1080, 4)
    blue = (np.abs(image[..., :3] - np.array([0x1A, 0x5F, 0xB4]) / 255) < 0.05).all(-1)
    third = 1080 // 3
    for panel in range(3):  # each panel has a validation line
        assert blue[:, panel * third : (panel + 1) * third].sum() > 20
    assert image[..., :3].min() < 0.5 and image[0, 0, :3].tolist() == [1, 1, 1]


def test_training_curve_is_the_same_each_time(tmp_path):
    for name in ("a.png", "b.png"):
        draw_training(curve(3), "nats", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_one_epoch_has_one_tick(axes, tmp_path):
    draw_training(curve(1), "nats", tmp_path / "a.png")
    assert [tick for panel in axes for tick in panel.get_xticks()] == [1, 1, 1]


KL = [0.25, 0.0, 3.0, 1.0]
ACTIVE = np.array([True, False, False, True])


def test_kl_is_sorted_numbered_and_coloured_by_activity(axes, tmp_path):
    draw_kl(KL, ACTIVE, tmp_path / "kl.png")
    (panel,) = axes
    bars = sorted(panel.patches, key=lambda bar: bar.get_x())
    assert [bar.get_height() for bar in bars] == [3.0, 1.0, 0.25, 0.0]
    colors = [matplotlib.colors.to_hex(bar.get_facecolor()) for bar in bars]
    assert colors == [GREY, BLUE, BLUE, GREY]
    labels = panel.get_xticklabels()
    assert [label.get_text() for label in labels] == ["2", "3", "0", "1"]
    assert [label.get_color() for label in labels] == [GREY, "black", "black", GREY]
    assert panel.get_title("left") == "KL loss of each latent dimension: 4.25 nats in all"
    assert [text.get_text() for text in panel.get_legend().get_texts()] == [
        "2 active: variance of z_mean above 0.01",
        "2 inactive: variance at most 0.01",
    ]


@pytest.mark.parametrize("size", [1, 20, 40, 300])
def test_kl_of_any_number_of_dimensions_fits_the_card(size, axes, tmp_path):
    draw_kl(np.linspace(0, 2, size), np.ones(size, bool), tmp_path / "kl.png")
    height, width, _ = matplotlib.image.imread(tmp_path / "kl.png").shape
    assert height == 312 and 600 <= width <= 1080
    boxes = [label.get_window_extent() for label in axes[0].get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


def test_kl_of_a_collapsed_posterior(axes, tmp_path):
    draw_kl([0.0, 0.001], np.zeros(2, bool), tmp_path / "kl.png")
    assert axes[0].get_title("left").endswith(": 0.001 nats in all")
    assert axes[0].get_ylim() == (0, 0.1)  # a lower limit would make tiny values look large


@pytest.mark.parametrize(("size", "columns", "rows"), [(1, 1, 1), (4, 4, 1), (6, 3, 2), (9, 4, 2)])
def test_reconstructed_elements_are_drawn_over_the_inputs(size, columns, rows, axes, tmp_path):
    x = np.random.default_rng(0).standard_normal((50, size)).astype(np.float32)
    x[:, 0] *= 0.1  # of nine elements, the first varies least and is not drawn
    draw_elements(x, 2 * x, None, tmp_path / "pairs.png")
    shown = range(size)[-8:]
    assert [panel.get_title("left") for panel in axes] == [f"element {i}" for i in shown]
    for panel, i in zip(axes, shown, strict=True):
        np.testing.assert_allclose(
            panel.collections[0].get_offsets(), np.stack([x[:, i], 2 * x[:, i]], 1), rtol=1e-6
        )
        assert panel.get_xlim() == panel.get_ylim()
    assert len({round(panel.get_position().x0, 3) for panel in axes}) == columns
    assert len({round(panel.get_position().y0, 3) for panel in axes}) == rows
    assert matplotlib.image.imread(tmp_path / "pairs.png").shape[1] == 270 * columns


def test_a_constant_element_is_drawn(tmp_path):
    draw_elements(*np.zeros((2, 1, 2), np.float32), ("$a", "b" * 99), tmp_path / "pairs.png")
    assert (tmp_path / "pairs.png").is_file()
