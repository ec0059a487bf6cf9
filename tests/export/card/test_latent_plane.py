"""The latent plane: its axes compared with other methods, and the positions of what is drawn."""

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from vae_export.card.figure_data import HeldOut
from vae_export.card.latent_plane import cell_centres, decoded_range, draw_plane, fit_plane


def codes(n, size, seed=0):
    return np.random.default_rng(seed).standard_normal((n, size)).astype(np.float32)


def samples(z_mean, shape=(28, 28, 1), loss=None):
    n = len(z_mean)
    x = np.random.default_rng(1).random((n, *shape), dtype=np.float32)
    loss = np.arange(n, dtype=np.float32) if loss is None else loss
    return HeldOut(x, z_mean, np.zeros_like(z_mean), loss)


def test_planted_directions_are_found():
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    spread = np.array([0.1, 3.0, 0.1, 1.5, 0.1])
    z = (rng.standard_normal((20000, 5)) * spread) @ basis.T + 7
    plane = fit_plane(z.astype(np.float32))
    for axis, planted in zip(plane.axes, basis.T[[1, 3]], strict=True):
        assert abs(axis @ planted) > 0.999
    shares = spread**2 / (spread**2).sum()
    assert plane.labels == (
        f"principal axis 1, {100 * shares[1]:.0f} % of the variance",
        f"principal axis 2, {100 * shares[3]:.0f} % of the variance",
    )


@pytest.mark.parametrize(("n", "size"), [(200, 20), (7, 30), (3, 3), (40, 300)])
def test_axes_against_singular_vectors(n, size):
    z = codes(n, size)
    plane = fit_plane(z)
    centred = z.astype(float) - z.astype(float).mean(axis=0)
    _, _, vectors = np.linalg.svd(centred)
    for axis, vector in zip(plane.axes, vectors[:2], strict=True):
        np.testing.assert_allclose(axis, vector * np.sign(axis @ vector), atol=1e-6)
        assert axis[np.abs(axis).argmax()] > 0
    coordinates = plane.project(z)
    np.testing.assert_allclose(np.abs(coordinates), np.abs(centred @ vectors[:2].T), atol=1e-5)
    np.testing.assert_allclose(coordinates.mean(axis=0), 0, atol=1e-6)
    assert abs(coordinates[:, 0] @ coordinates[:, 1]) < 1e-4


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_samples_of_many_dimensions(n):
    z = codes(n, 1000)
    plane = fit_plane(z)
    assert plane.axes.shape == (2, 1000) and np.isfinite(plane.project(z)).all()
    distances = np.linalg.norm(plane.project(z)[:, None] - plane.project(z), axis=-1)
    np.testing.assert_allclose(distances, np.linalg.norm(z[:, None] - z, axis=-1), rtol=1e-4)


@pytest.mark.parametrize("size", [1, 2])
def test_one_or_two_dimensions_are_the_axes(size):
    z = codes(10, size) + 5
    plane = fit_plane(z)
    np.testing.assert_array_equal(plane.project(z), z)
    np.testing.assert_array_equal(plane.points(plane.project(z)), z)
    assert plane.labels == ("z_mean[0]", "z_mean[1]")[:size]


def test_points_of_the_plane_project_onto_themselves():
    plane = fit_plane(codes(50, 6) + 3)
    coordinates = codes(9, 2, seed=4).astype(float)
    points = plane.points(coordinates)
    assert points.shape == (9, 6) and points.dtype == np.float32
    np.testing.assert_allclose(plane.project(points), coordinates, atol=1e-5)


def test_collapsed_codes_still_have_orthonormal_axes():
    plane = fit_plane(np.full((10, 4), 0.3, np.float32))
    np.testing.assert_allclose(plane.axes @ plane.axes.T, np.eye(2), atol=1e-12)
    assert plane.labels[0] == "principal axis 1, 0 % of the variance"


def test_decoded_range_is_that_of_inner_samples_or_of_the_prior_if_inactive():
    coordinates = np.stack([np.linspace(-50, 50, 101), np.full(101, 7.0)], axis=1)
    low, high = decoded_range(coordinates)
    np.testing.assert_allclose([low, high], [[-48, 5], [48, 9]])


def test_cells_are_ordered_by_row_from_the_top():
    cells = cell_centres(np.array([0.0, 10.0]), np.array([4.0, 16.0]), (2, 3))
    assert cells.tolist() == [[1, 15], [3, 15], [1, 13], [3, 13], [1, 11], [3, 11]]


@pytest.fixture
def figure(monkeypatch):
    """A function that returns the last figure drawn."""
    found = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **o: (found.append(self), save(self, *a, **o))[1]
    )
    return lambda: found[-1]


def test_decoded_pictures_lie_at_their_coordinates(figure, tmp_path):
    """The decoder's pictures have z[0] as their red value and z[1] as their green value."""

    def decode(z):
        images = np.zeros((len(z), 28, 28, 3), np.float32)
        images[..., 0], images[..., 1] = z[:, 0, None, None], z[:, 1, None, None]
        return images

    z = np.random.default_rng(0).random((500, 2), dtype=np.float32)
    draw_plane(samples(z, (28, 28, 3)), decode, "nats", tmp_path / "plane.png")
    left, right, bar = figure().axes
    np.testing.assert_array_equal(left.collections[0].get_offsets(), z)
    np.testing.assert_array_equal(left.collections[0].get_array(), np.arange(500))
    assert bar.get_ylabel() == "reconstruction loss, nats"
    image = right.images[0]
    x0, x1, y0, y1 = image.get_extent()
    frame_drawn = left.patches[0].get_bbox().extents
    np.testing.assert_allclose(frame_drawn, [x0, y0, x1, y1])
    pixels = image.get_array()
    height, width, _ = pixels.shape
    for row, column in ((14, 14), (14, 200), (200, 14), (height - 14, width - 14)):
        expected = (x0 + (x1 - x0) * column / width, y1 - (y1 - y0) * row / height)
        cell = np.array([x1 - x0, y1 - y0]) / 13  # a whole picture has the colour of its centre
        assert (np.abs(pixels[row, column, :2] / 255 - expected) < 0.6 * cell).all()


@pytest.mark.parametrize(
    ("n", "shape", "spread"),
    [
        (1, (28, 28, 1), 1.0),
        (2, (28, 28, 1), 1.0),
        (300, (28, 28, 1), 0.0),
        (300, (150, 40, 3), 1.0),
        (300, (8, 90, 1), 1.0),
        (1, (5,), 1.0),
        (300, (5,), 0.0),
    ],
)
@pytest.mark.parametrize("size", [1, 20])
def test_the_figure_of_any_model_has_the_width_of_the_card(n, size, shape, spread, tmp_path):
    decode = (lambda z: np.zeros((len(z), *shape), np.float32)) if len(shape) == 3 else None
    draw_plane(samples(spread * codes(n, size), shape), decode, "nats", tmp_path / "plane.png")
    height, width, _ = matplotlib.image.imread(tmp_path / "plane.png").shape
    assert width == (1080 if decode or size == 1 else 594) and 250 < height < 800


def test_equal_losses_have_no_colour_bar(figure, tmp_path):
    held_out = samples(codes(5, 2), loss=np.ones(5, np.float32))
    draw_plane(held_out, None, "nats", tmp_path / "plane.png")
    assert len(figure().axes) == 1


def test_a_line_is_decoded_below_its_histogram(figure, tmp_path):
    z = np.random.default_rng(0).random((1000, 1), dtype=np.float32)

    def decode(z):
        return np.broadcast_to(z[:, :, None, None], (len(z), 28, 28, 1))

    draw_plane(samples(z), decode, "nats", tmp_path / "line.png")
    upper, lower = figure().axes
    assert upper.get_xlim() == lower.get_xlim() == (float(z.min()), float(z.max()))
    box = lower.get_window_extent()
    pixels = lower.images[0].get_array()
    assert box.width / box.height == pytest.approx(25, rel=0.01)  # 25 square pictures
    steps = np.diff(pixels[14, 14::29].astype(int))
    assert len(steps) == 24 and (steps > 0).all()
