"""`calibrate`: what it prints, writes and refuses."""

import numpy as np
import pytest

from messages import one_line
from sealing import without_score
from vae_runtime import Bundle, load, pack
from vae_runtime.bundle.score_section import calibration_table


@pytest.fixture
def normal(tmp_path):
    x = np.random.default_rng(4).random((60, 8, 8), dtype=np.float32)
    np.savez(tmp_path / "normal.npz", X=x, y=np.repeat([0, 1], (45, 15)))
    return tmp_path / "normal.npz"


def test_it_replaces_the_bundle_and_prints_its_thresholds(bundle, normal, call):
    status, out, err = call("calibrate", bundle, "--data", normal, "--samples", "40")
    made = Bundle(bundle)
    assert (status, err) == (0, "")
    assert out == f"{calibration_table(made.manifest)}\nwrote {bundle}, sha256 {made.sha256}\n"
    name = made.manifest.score.name
    first, header, *rows = out.splitlines()[:-1]
    assert first == (
        f"float32, score {name}: 40 samples ({normal}), checked on 20 others, smallest p-value "
        "0.0244"
    )
    assert header.split("  ")[0] == "alpha" and [row.split()[0] for row in rows] == ["0.1", "0.05"]
    assert call("verify", bundle)[0] == 0
    assert len(load(bundle).calibration.scores) == 40


def test_a_packed_file_and_both_tails(bundle, normal, tmp_path, call):
    packed = pack(bundle, tmp_path / "small.vae")
    words = ("--tails", "both", "--alpha", "0.04", "-o", tmp_path / "new.vae")
    status, out, err = call("calibrate", packed.path, "--data", normal, *words)
    made = Bundle(tmp_path / "new.vae")
    assert (status, err) == (0, "")
    assert out.endswith(f"\nwrote {tmp_path / 'new.vae'}, sha256 {made.sha256}\n")
    assert "\n0.04   below " in out and made.manifest.score.tails == "both"
    assert Bundle(packed.path).sha256 == packed.sha256
    status, out, _ = call("inspect", made.path)
    lines = {line[:12].strip(): line[12:] for line in out.splitlines()}
    assert lines["score"] == f"{made.manifest.score.name}; high and low scores are unusual"
    assert lines["calibrated"].startswith(
        f"with 60 samples ({normal}); smallest p-value 0.0328; alarms at 0.1 below "
    )


def test_a_signature_that_no_longer_fits(bundle, normal, tmp_path, call):
    (tmp_path / "small-vae.sig").write_text("{}")
    new = tmp_path / "new-vae"
    assert call("calibrate", bundle, "--data", normal, "-o", new)[2] == ""
    status, _, err = call("calibrate", bundle, "--data", normal)
    assert status == 0
    assert one_line(err) == (
        f"Warning: {tmp_path / 'small-vae.sig'} does not fit the calibrated bundle: sign it again "
        "with build-vae sign"
    )


def test_only_normal_samples_calibrate(bundle, normal, tmp_path, call):
    from PIL import Image

    words = ("calibrate", bundle, "--data", normal, "--normal", "0")
    assert call(*words, "-o", tmp_path / "a")[1].startswith("float32, score ")
    assert len(load(tmp_path / "a").calibration.scores) == 45
    with np.load(normal) as arrays:
        pixels = np.round(255 * arrays["X"]).astype(np.uint8)
    for i, label in enumerate(["train/good", *["test/good"] * 12, *["test/cut"] * 3]):
        path = tmp_path / "parts" / label / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[i]).save(path)
    assert call("calibrate", bundle, "--data", tmp_path / "parts", "-o", tmp_path / "b")[0] == 0
    scores = load(bundle).score(pixels[1:13]).score
    np.testing.assert_array_equal(load(tmp_path / "b").calibration.scores, np.sort(scores))


def test_a_table_by_its_columns(exported, tmp_path, call):
    x = np.random.default_rng(5).random((30, 12))
    np.savetxt(tmp_path / "rows.csv", x, delimiter=",")
    words = ("--data", tmp_path / "rows.csv", "-o", tmp_path / "new")
    status, out, _ = call("calibrate", exported("dense", "mse", (12,)), *words)
    assert status == 0 and "30 samples" in out
    scores = load(tmp_path / "new").score(x.astype(np.float32)).score
    np.testing.assert_array_equal(load(tmp_path / "new").calibration.scores, np.sort(scores))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--alpha", "0.01"),
            "alpha is 0.01, but 60 calibration samples give no p-value below 0.0164: calibrate "
            "with at least 99 samples, or choose a larger alpha",
        ),
        (
            ("--alpha", "0.1", "--alpha", "0.02", "--samples", "20"),
            "alpha is 0.02, but 20 calibration samples give no p-value below 0.0476: calibrate "
            "with at least 49 samples, or choose a larger alpha",
        ),
        (
            ("--alpha", "0.02", "--tails", "both"),
            "alpha is 0.02, but 60 calibration samples give no p-value below 0.0328: calibrate "
            "with at least 99 samples, or choose a larger alpha",
        ),
        (
            ("--normal", "2"),
            "no sample has the label '2', expected '0', '1': give one of the labels of the data "
            "as normal",
        ),
        (("--sha256", "0" * 64), "this is another bundle than the one that was asked for"),
    ],
)
def test_refused_before_anything_is_written(words, message, bundle, normal, call):
    before = Bundle(bundle).sha256
    status, out, err = call("calibrate", bundle, "--data", normal, *words)
    assert (status, out) == (3, "")
    assert message in one_line(err)
    assert Bundle(bundle).sha256 == before
    Bundle(bundle).check_files()


def test_bad_samples_are_named(bundle, tmp_path, call):
    x = np.random.default_rng(6).random((20, 8, 8), dtype=np.float32)
    x[7, 0, 0] = np.nan
    np.save(tmp_path / "bad.npy", x)
    before = Bundle(bundle).sha256
    status, _, err = call("calibrate", bundle, "--data", tmp_path / "bad.npy")
    assert status == 3 and "sample 7 has 1 values that are NaN" in one_line(err)
    assert Bundle(bundle).sha256 == before


def test_a_bundle_without_a_score(bundle, normal, call):
    without_score(bundle)
    status, _, err = call("calibrate", bundle, "--data", normal)
    assert status == 3 and "has no anomaly score: export the model again" in one_line(err)
