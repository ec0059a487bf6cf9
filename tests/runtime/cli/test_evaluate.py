"""`evaluate`: losses, and how well the score tells anomalous samples from normal ones."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from messages import one_line
from sealing import without_score
from vae_export import Provenance
from vae_runtime import evaluate, load
from vae_runtime.bundle.fields import DataSpec
from vae_runtime.quality.calibrate import calibrate


@pytest.fixture(scope="module")
def calibrated(exported, tmp_path_factory):
    """A bundle of small pictures, calibrated with 40 of them."""
    path = tmp_path_factory.mktemp("calibrated") / "small-vae"
    calibrate(exported(), np.random.default_rng(1).random((40, 8, 8, 1)), output=path)
    return path


@pytest.fixture(scope="module")
def labelled():
    """12 pictures like those, and 6 that are black or white; their labels as numbers."""
    rng = np.random.default_rng(2)
    usual, other = rng.random((12, 8, 8)), rng.integers(0, 2, (6, 8, 8))
    x = np.round(255 * np.concatenate([usual, other])).astype(np.uint8)
    return x, np.repeat([3, 5, 8], (7, 5, 6))


@pytest.fixture
def npz(labelled, tmp_path):
    np.savez(tmp_path / "labelled.npz", X=labelled[0], y=labelled[1])
    return tmp_path / "labelled.npz"


def test_evaluate(exported, tmp_path, call):
    x = np.random.default_rng(0).random((5, 8, 8), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    expected = evaluate(load(exported()), x, draws=4, seed=2)
    words = ("evaluate", exported(), tmp_path / "x.npy", "-k", "4", "--seed", "2")
    assert call(*words) == (0, f"{expected}\n", "")
    status, out, _ = call(*words, "--json")
    found = json.loads(out)
    assert status == 0 and found["detection"] is None
    assert found["importance_weighted_loss"] == expected.importance_weighted_loss


def test_detection_and_its_picture(calibrated, labelled, npz, tmp_path, call):
    words = ("evaluate", calibrated, npz, "-k", "1", "--normal", "3", "--normal", "5")
    status, out, err = call(*words, "--roc", tmp_path / "roc.svg")
    assert (status, err) == (0, f"wrote {tmp_path / 'roc.svg'}\n")
    x, y = labelled
    vae = load(calibrated)
    expected = evaluate(vae, x, labels=y, normal=("3", "5"), draws=1)
    assert out == f"{expected}\n"
    scores, anomalous = vae.score(x), y == 8
    auroc = np.mean([t > s for t in scores.score[anomalous] for s in scores.score[~anomalous]])
    line, *alarms = out.splitlines()[-3:]
    name = vae.manifest.score.name
    assert line.startswith(f"anomaly score          {name}: AUROC {auroc:.4f}, average precision ")
    assert line.endswith("; 6 anomalous and 12 normal samples")
    for alpha, text in zip((0.1, 0.05), alarms, strict=True):
        rates = [100 * scores.alarms(alpha)[part].mean() for part in (anomalous, ~anomalous)]
        assert text == (
            f"alarms at {alpha:<12g} {rates[0]:.2f} % of the anomalous, "
            f"{rates[1]:.2f} % of the normal samples"
        )
    assert ET.parse(tmp_path / "roc.svg").getroot().get("width")
    found = json.loads(call(*words, "--json")[1])["detection"]
    assert found["auroc"] == pytest.approx(auroc) and found["roc"][0] == [0.0, 0.0]
    assert found["alarms"][0].keys() == {"alpha", "detection_rate", "false_alarm_rate"}


def test_the_class_of_training_is_normal(calibrated, labelled, tmp_path, call):
    """As in MVTec's data: train/good, test/good and test/cut."""
    from PIL import Image

    names = ["test/good"] * 12 + ["test/cut"] * 6
    for i, (pixels, name) in enumerate(zip(labelled[0], names, strict=True)):
        path = tmp_path / "parts" / name / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "parts/train/good").mkdir(parents=True)
    Image.fromarray(labelled[0][0]).save(tmp_path / "parts/train/good/0.png")
    status, out, _ = call("evaluate", calibrated, tmp_path / "parts", "-k", "1")
    assert status == 0 and "; 6 anomalous and 12 normal samples" in out
    swapped = call("evaluate", calibrated, tmp_path / "parts", "-k", "1", "--normal", "cut")[1]
    assert "; 12 anomalous and 6 normal samples" in swapped


def test_labels_of_a_file(calibrated, labelled, npz, tmp_path, call):
    x, y = labelled
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    (tmp_path / "y.txt").write_text("\n".join(map(str, y)))
    words = ("-k", "1", "--normal", "3", "--normal", "5")
    expected = call("evaluate", calibrated, npz, *words)
    for labels in ("y.npy", "y.txt"):
        given = ("--labels", tmp_path / labels)
        assert call("evaluate", calibrated, tmp_path / "x.npy", *given, *words) == expected


def test_labels_of_a_column(exported, tmp_path, call):
    rng = np.random.default_rng(3)
    rows = [*(rng.random((8, 12))), *(5 + rng.random((4, 12)))]
    header = ",".join(["state", *(f"c{i}" for i in range(12))])
    states = ["ok"] * 8 + ["hot"] * 4
    lines = [f"{s},{','.join(map(str, r))}" for s, r in zip(states, rows, strict=True)]
    (tmp_path / "faults.csv").write_text("\n".join([header, *lines]))
    names = tuple(f"c{i}" for i in range(12))
    data = DataSpec("rows.csv", "0" * 64, 30, 5, 5, 0, names)
    bundle = exported("dense", "mse", (12,), provenance=Provenance(data=data))
    words = ("evaluate", bundle, tmp_path / "faults.csv", "-k", "1")
    status, out, _ = call(*words, "--labels", "state", "--normal", "ok")
    assert status == 0 and "; 4 anomalous and 8 normal samples" in out
    status, _, err = call(*words, "--labels", "stat", "--normal", "ok")
    assert status == 3
    assert one_line(err) == (
        f"Error: --labels is 'stat', which is no column of {tmp_path / 'faults.csv'} and no file: "
        "give a file with one label for each sample, or a column of a table"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--normal", "4"),
            "no sample has the label '4', expected '3', '5', '8': give one of the labels of the "
            "data as normal",
        ),
        (
            ("--roc", "{}/roc.svg"),
            "--roc needs normal and anomalous samples, but nothing says which are normal: name "
            "their labels with --normal",
        ),
        (("--roc", "{}/roc.png"), "has the suffix '.png', expected one of .svg"),
        (("--labels", "{}/none.txt"), "which is no file: give a file with one label for each"),
    ],
)
def test_what_is_refused(words, message, calibrated, npz, tmp_path, call):
    words = [word.format(tmp_path) for word in words]
    status, out, err = call("evaluate", calibrated, npz, *words, "-k", "1")
    assert (status, out) == (3, "")
    assert message in one_line(err)
    assert [path.name for path in tmp_path.iterdir()] == [npz.name]


def test_a_bundle_without_a_score(bundle, npz, call):
    without_score(bundle)
    assert call("evaluate", bundle, npz, "-k", "1")[0] == 0
    status, _, err = call("evaluate", bundle, npz, "-k", "1", "--normal", "3")
    assert status == 3 and "has no anomaly score: export the model again" in one_line(err)
