"""The most unusual box of a sample, beside a search through all boxes."""

import itertools

import numpy as np
import pytest

from vae_runtime.explanation.boxes import box_size, most_unusual_boxes


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((30,), (1,)),
        ((40, 3), (6, 1)),
        ((28, 28, 1), (4, 4, 1)),
        ((3, 20, 3), (1, 3, 3)),
        ((14, 7, 21, 2), (2, 1, 3, 2)),
    ],
)
def test_box_is_the_best_of_all(shape, size):
    assert box_size(shape) == size
    values = np.random.default_rng(0).normal(size=(5, *shape))
    found = most_unusual_boxes(values)
    for i, sample in enumerate(values):
        places = itertools.product(*(range(n - k + 1) for n, k in zip(shape, size, strict=True)))
        sums = {
            place: sample[tuple(slice(p, p + k) for p, k in zip(place, size, strict=True))].sum()
            for place in places
        }
        best = max(sums, key=sums.get)
        assert tuple(found.start[i]) == best
        assert (found.stop[i] - found.start[i] == size).all()
        assert found.values[i] == pytest.approx(sums[best]) == sample[found.slices(i)].sum()


def test_no_samples():
    assert most_unusual_boxes(np.zeros((0, 9, 9, 1))).start.shape == (0, 3)
