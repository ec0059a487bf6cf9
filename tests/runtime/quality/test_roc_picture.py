"""The ROC picture: it parses, its points are in the right places, and no label leaves the plot."""

import itertools
import xml.etree.ElementTree as ET

import pytest

from vae_runtime.quality.detection import AlarmRates, Detection
from vae_runtime.quality.roc_picture import LEFT, LINE_HEIGHT, SIDE, TOP, roc_svg

SVG = "{http://www.w3.org/2000/svg}"
ROC = ((0.0, 0.0), (0.0, 0.5), (0.25, 1.0), (1.0, 1.0))


def detection(*alarms):
    return Detection("combined", 1234, 50, 0.9375, 0.5, tuple(AlarmRates(*a) for a in alarms), ROC)


def test_curve_points_and_words():
    svg = roc_svg(detection((0.1, 0.75, 0.125), (0.01, 0.5, 0.0)), "a & <b>")
    root = ET.fromstring(svg)
    (curve,) = root.iter(f"{SVG}polyline")
    points = [tuple(map(float, p.split(","))) for p in curve.get("points").split()]
    assert points == [(LEFT + SIDE * x, TOP + SIDE * (1 - y)) for x, y in ROC]
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(f"{SVG}circle")]
    assert dots == [
        (LEFT + SIDE * 0.125, TOP + SIDE * 0.25),
        (LEFT + SIDE * 0.0, TOP + SIDE * 0.5),
    ]
    words = [text.text for text in root.iter(f"{SVG}text")]
    for text in (
        "a & <b>: score combined",
        "AUROC 0.9375, average precision 0.5000",
        "alpha 0.1: 75 % detected, 12 % false alarms",
        "false alarms among 1,234 normal samples",
        "detected among 50 anomalous samples",
    ):
        assert text in words


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_labels_stay_apart_and_inside(rate):
    alarms = [(alpha, rate, rate) for alpha in (0.1, 0.05, 0.01, 0.001)]
    root = ET.fromstring(roc_svg(detection(*alarms), "n" * 200))
    labels = [t for t in root.iter(f"{SVG}text") if t.text.startswith("alpha")]
    tops = sorted(float(t.get("y")) for t in labels)
    assert len(tops) == 4 and all(b - a >= LINE_HEIGHT for a, b in itertools.pairwise(tops))
    assert tops[0] > TOP and tops[-1] < TOP + SIDE
    assert all(LEFT <= float(t.get("x")) <= LEFT + SIDE / 2 for t in labels)
