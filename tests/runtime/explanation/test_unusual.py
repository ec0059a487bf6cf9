"""Standard deviations of normal samples: elements that never vary do no harm."""

import numpy as np

from vae_runtime.decision.calibration import Calibration
from vae_runtime.explanation.unusual import in_spreads


def calibration(mean, std):
    return Calibration(np.zeros(3, np.float32), "upper", *np.array([mean, std], np.float32))


def test_a_border_pixel():
    """It never varies: noise there is nothing, a bright spot is more than in the middle."""
    usual = calibration([0.0, 0.05, 0.2], [0.0, 0.1, 0.2])
    noise, spot = in_spreads(np.array([[1e-6] * 3, [1.0] * 3]), usual)
    assert abs(noise[0]) < 1e-3
    assert spot[0] > 3 * spot[1] > 3 * spot[2]
    assert np.isfinite(spot).all()


def test_a_hard_element_does_not_shout():
    """Half of the error that an easy element has is as unusual as twice that of a hard one."""
    usual = calibration([0.1, 0.4], [0.1, 0.4])
    easy, hard = in_spreads(np.array([[0.5, 0.9]]), usual)[0]
    assert easy > 2 * hard


def test_no_element_varies():
    unusual = in_spreads(np.array([[0.0, 1.0]]), calibration([0.0, 0.0], [0.0, 0.0]))
    assert np.isfinite(unusual.astype(np.float32)).all() and unusual[0, 1] > unusual[0, 0] == 0
