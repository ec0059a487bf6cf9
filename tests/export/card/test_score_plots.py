"""Plots of a score: what is drawn are the calibration's numbers and the explanation's."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from vae_export.card.score_plots import (
    Anomaly,
    draw_calibration,
    draw_picture_anomaly,
    draw_series_anomaly,
    draw_vector_anomaly,
)
from vae_runtime.decision.calibration import Calibration, describe
from vae_runtime.decision.rates import rate_bounds
from vae_runtime.graph.p_value import with_p_value

RED = "#c01c28"


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


@pytest.fixture(scope="module")
def graph(exported):
    return (exported() / "score.onnx").read_bytes()


def draw(graph, path, n, m, tails="upper"):
    rng = np.random.default_rng(n)
    scores = np.sort(rng.gamma(2, 3, n)).astype(np.float32)
    check = rng.gamma(2, 3, m).astype(np.float32)
    data = with_p_value(graph, scores, both_tails=tails == "both")
    spec = describe(scores, tails, data, check)
    element = np.ones((2,), np.float32)
    draw_calibration(Calibration(scores, tails, element, element), spec, check, path)
    return scores, check, spec


@pytest.mark.parametrize("tails", ["upper", "both"])
@pytest.mark.parametrize(("n", "m"), [(1, 0), (5, 3), (300, 200), (2000, 1000)])
def test_calibration(graph, axes, tmp_path, n, m, tails):
    scores, check, spec = draw(graph, tmp_path / "a.png", n, m, tails)
    rates, counts = axes
    lines = {line.get_label(): line.get_xydata() for line in rates.lines}
    np.testing.assert_array_equal(lines["promised"][:, 0], lines["promised"][:, 1])
    if m:
        line = lines[f"found on {m:,} other samples"]
        for alpha, rate in line[:: len(line) // 7]:
            upper = (scores >= check[:, None]).sum(axis=1)
            lower = (scores <= check[:, None]).sum(axis=1)
            p_value = (1 + upper) / (n + 1)
            if tails == "both":
                p_value = np.minimum(1, 2 * np.minimum(p_value, (1 + lower) / (n + 1)))
            found = (np.float32(p_value) <= np.float32(alpha)).mean()
            assert np.isnan(rate) if found == 0 else rate == pytest.approx(found)
    ends = {end for v in spec.levels for end in (v.upper, v.lower) if end is not None}
    drawn = {float(line.get_xdata()[0]) for line in counts.lines}
    assert drawn == ends
    labels = [text.get_text().strip() for text in counts.texts]
    assert set(labels) == {f"alpha {level.alpha:g}" for level in spec.levels}
    total = sum(patch.get_height() for patch in counts.patches)
    assert total == n if n < 500 else n - 2 <= total <= n  # but the outermost two


def test_the_band_is_that_of_the_rates(graph, axes, tmp_path):
    draw(graph, tmp_path / "a.png", 200, 100)
    (band,) = axes[0].collections
    for alpha, edge in band.get_paths()[0].vertices[5:-5:9]:
        if alpha * 201 >= 1:
            bounds = rate_bounds(float(alpha), 200)
            assert min(abs(edge - bounds.lower), abs(edge - bounds.upper)) < 1e-9


def anomaly(shape, at):
    rng = np.random.default_rng(0)
    normal, reconstruction = (rng.random(shape, dtype=np.float32) for _ in range(2))
    changed, unusual = normal.copy(), np.full(shape, 0.5, np.float32)
    changed[at] += 1
    unusual[at] = 40
    return Anomaly(normal, changed, reconstruction, unusual, (0.4, 0.01))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture(axes, tmp_path, channels):
    given = anomaly((6, 8, channels), np.s_[1:3, 4:6])
    draw_picture_anomaly(given, tmp_path / "a.png")
    before, after, reconstruction, heat, _ = axes
    shown = [panel.images[0].get_array() for panel in (before, after, reconstruction, heat)]
    high = given.changed.max()
    for picture, array in zip(shown, (given.normal, given.changed, given.reconstruction),
                              strict=False):  # fmt: skip
        np.testing.assert_allclose(picture, np.squeeze(array) / high, rtol=1e-5)
    np.testing.assert_array_equal(shown[3], given.unusual.mean(axis=-1))
    assert "p = 0.4" in before.get_title("left") and "p = 0.01" in after.get_title("left")


@pytest.mark.parametrize("names", [None, [f"column {i}" for i in range(20)]])
def test_a_row(axes, tmp_path, names):
    given = anomaly((20,), 7)
    draw_vector_anomaly(given, names, tmp_path / "a.png")
    (panel,) = axes
    assert [bar.get_width() for bar in panel.patches] == [40, *[0.5] * 7]
    assert panel.get_yticklabels()[0].get_text() == ("column 7" if names else "element 7")
    assert panel.patches[0].get_facecolor() != panel.patches[1].get_facecolor()
    text = panel.texts[0].get_text()
    assert f"{given.changed[7]:.4g}, reconstructed {given.reconstruction[7]:.4g}" in text


def test_a_series(axes, tmp_path):
    given = anomaly((12, 3), np.s_[4, 1])
    draw_series_anomaly(given, tmp_path / "a.png")
    upper, lower = axes
    np.testing.assert_array_equal(upper.lines[0].get_ydata(), given.changed[:, 1])
    np.testing.assert_array_equal(upper.lines[1].get_ydata(), given.reconstruction[:, 1])
    assert upper.get_ylabel() == "channel 1"
    assert np.argmax([bar.get_height() for bar in lower.patches]) == 4


def test_plots_are_the_same_each_time(graph, tmp_path):
    for name in ("a.png", "b.png"):
        draw(graph, tmp_path / name, 300, 100)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
