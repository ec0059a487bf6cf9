"""Calibration without TensorFlow: what the new bundle computes and states."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from sealing import seal, without_score
from vae_runtime import Bundle, evaluate, load, pack
from vae_runtime.bundle.score_section import HEADING, score_section
from vae_runtime.decision.conformal import Bounds
from vae_runtime.decision.rates import rate_bounds
from vae_runtime.errors import BundleError, InputError, OptionError
from vae_runtime.quality.calibrate import calibrate


def images_of(count, seed):
    return np.random.default_rng(seed).random((count, 8, 8, 1), dtype=np.float32)


@pytest.fixture(scope="module")
def normal():
    return images_of(130, 11)


def files_of(path):
    return {p.relative_to(path): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("tails", ["upper", "both"])
def test_p_values_count_the_calibration_scores(tails, bundle, normal):
    before = load(bundle).score(images_of(30, 12))
    made = calibrate(bundle, normal, tails=tails, samples=80, alphas=[0.03, 0.1], source="line 3")
    vae, spec = load(bundle, sha256=made.sha256), made.manifest.score
    assert vae.verify().passed and (spec.tails, spec.data) == (tails, "line 3")
    found = vae.score(images_of(30, 12))
    np.testing.assert_array_equal(found.score, before.score)
    scores = vae.score(normal).score
    own = vae.calibration.scores
    assert len(own) == 80 and {*own.tolist()} <= {*scores.tolist()}
    for score, p_value in zip(found.score, found.p_value, strict=True):
        p = (1 + sum(c >= score for c in own)) / 81
        if tails == "both":
            p = min(1, 2 * min(p, (1 + sum(c <= score for c in own)) / 81))
        assert p_value == pytest.approx(p, rel=1e-6)
    # the manifest: the usual rates that 80 samples allow, and the one that was asked for
    calibration = spec.calibrations["float32"]
    assert (calibration.samples, calibration.checked) == (80, 50)
    assert [level.alpha for level in calibration.levels] == [0.1, 0.05, 0.03]
    others = np.array([s not in own for s in scores])
    assert others.sum() == 50
    for level in calibration.levels:
        at = vae.calibration.threshold(level.alpha)
        assert (Bounds(level.lower, level.upper) if tails == "both" else level.upper) == at
        assert level.rate == pytest.approx(tuple(rate_bounds(level.alpha, 80, tails)))
        alarms = scores > level.upper
        if tails == "both":
            alarms |= scores < level.lower
        assert level.found == pytest.approx(alarms[others].mean())


def test_only_normal_labels_calibrate(bundle, normal, tmp_path):
    labels = np.repeat([0, 1, 2], (100, 20, 10))
    made = calibrate(bundle, normal, labels=labels, normal=["0", "2"], output=tmp_path / "new")
    own = load(made.path).calibration.scores
    expected = load(bundle).score(normal[labels != 1]).score
    np.testing.assert_array_equal(own, np.sort(expected))


def test_a_packed_file_gives_the_same(bundle, normal, tmp_path):
    packed = pack(bundle, tmp_path / "small.vae").path
    made = calibrate(packed, normal, output=tmp_path / "new.vae")
    calibrate(bundle, normal)
    x = images_of(5, 13)
    np.testing.assert_array_equal(load(made.path).score(x).p_value, load(bundle).score(x).p_value)
    assert load(made.path).verify().passed
    assert load(packed).calibration.scores.shape == (5,)  # the old file is still there
    assert evaluate(load(made.path), x, draws=1).samples == 5


def test_too_few_samples_for_an_alpha_write_nothing(bundle, normal, tmp_path):
    before = files_of(bundle)
    for samples, tails, needed in ((2000, None, 199), (99, "upper", 199), (2000, "both", 399)):
        with pytest.raises(OptionError) as caught:
            calibrate(bundle, normal, samples=samples, tails=tails, alphas=[0.1, 0.005])
        assert f"calibrate with at least {needed} samples" in str(caught.value)
        assert str(caught.value).startswith(f"alpha is 0.005, but {min(samples, 130)} calibration")
    assert files_of(bundle) == before
    assert {path.name for path in tmp_path.iterdir()} == {"small-vae"}


def test_what_is_refused(bundle, normal):
    with pytest.raises(InputError, match="x has no samples"):
        calibrate(bundle, normal[:0])
    with pytest.raises(OptionError, match="no sample has the label 'x', expected 'a'"):
        calibrate(bundle, normal, labels=["a"] * 130, normal=["x"])
    without_score(bundle)
    with pytest.raises(OptionError, match="has no anomaly score: export the model again with"):
        calibrate(bundle, normal)


def test_the_card_states_the_new_thresholds(bundle, normal):
    card = bundle / "README.md"
    stale = f"{HEADING}\n\nstale\n\n## Use\n"
    text = re.sub(rf"^{HEADING}\n.*?(?=^## )", "", card.read_text(), flags=re.DOTALL | re.M)
    seal(bundle, "README.md", text.replace("## Use\n", stale).encode())
    made = calibrate(bundle, normal)
    found = card.read_text()
    assert "stale" not in found
    assert f"{score_section(made.manifest)}\n## Use\n" in found
    Bundle(bundle).check_files()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda levels: levels.pop(0), "other thresholds"),
        (lambda levels: levels[-1].update(alpha=0.02), "other thresholds"),
        (lambda levels: levels[0].update(upper=levels[0]["upper"] + 1), "other thresholds"),
        (lambda levels: levels.append({**levels[0], "alpha": 1.0}), "false-alarm rates that no"),
        (lambda levels: levels.extend(levels[:1] * 30), "false-alarm rates that no"),
    ],
)
def test_edited_thresholds_are_refused(change, fault, bundle, normal):
    calibrate(bundle, normal, alphas=[0.04])
    path = Path(bundle / "manifest.json")
    manifest = json.loads(path.read_text())
    change(manifest["score"]["calibrations"]["float32"]["levels"])
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=fault):
        load(bundle).score(normal[:2])
