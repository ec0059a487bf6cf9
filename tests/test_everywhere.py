"""The comparison of runtimes finds differences, and the runtimes installed here agree."""

import dataclasses
import json
import sys
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import everywhere
import vae_runtime
from everywhere import Difference, Row, compare, difference, table
from peers import web
from peers.edge import EDGE_PEERS, NAMES, edge_form
from peers.runtime import LOSS_NAMES, NotAvailableError, Peer, batches
from peers.runtimes import PEERS
from vae_export.edge_forms.allowed import LOSS_RTOL
from vae_export.edge_forms.targets import TARGETS
from vae_runtime import Bundle


def allowed(expected):
    """2e-6 of a loss, or the tolerance of a bundle."""
    return np.maximum(2e-6 * np.abs(expected), 1e-5 + 1e-6 * np.abs(expected))


NODE_MODULES = Path(__file__).parent.parent / "node_modules"


def run(bundle, graph, inputs):
    vae = vae_runtime.load(bundle.path)
    return "1.0", [vae.run(graph, batch) for batch in inputs]


def run_wrongly(bundle, graph, inputs, *, wrong="loss", factor=1.00001):
    """Change an output of the last sample, which runs alone, by a factor."""
    version, found = run(bundle, graph, inputs)
    if wrong not in found[-1]:
        return version, found
    return version, [*found[:-1], {**found[-1], wrong: found[-1][wrong] * np.float32(factor)}]


def unavailable(bundle, graph, inputs):
    raise NotAvailableError("pip install it")


def broken(bundle, graph, inputs):
    raise RuntimeError("no such operator")


RIGHT, WRONG = Peer("right", "none", run), Peer("wrong", "x", run_wrongly, ("loss",))


@pytest.mark.parametrize("preset", ["dense", "conv"])
@pytest.mark.parametrize("peer", [*PEERS, *web.peers(NODE_MODULES)], ids=lambda peer: peer.name)
def test_installed_runtimes_agree(exported, peer, preset):
    row = compare(peer, [Bundle(exported(preset, score="combined"))])
    if row.missing:
        pytest.skip(f"{peer.name}: {row.missing}")
    assert not row.error
    if peer.must_agree:
        reconstruction, kl, loss, score, p_value = row.differences[0]
        assert max(reconstruction.relative, loss.relative) <= LOSS_RTOL
        assert kl.agrees and not row.failed
        assert (score is None) == (p_value is None) == ("score" not in peer.graphs)


@pytest.mark.parametrize("peer", EDGE_PEERS, ids=lambda peer: peer.name)
def test_runtimes_with_a_form_of_their_own_agree(exported, peer):
    row = compare(peer, [Bundle(exported())])
    if row.missing:
        assert "pip install" in row.missing or "package manager" in row.missing
        pytest.skip(f"{peer.name}: {row.missing}")
    assert not row.error and not row.failed


@pytest.mark.parametrize("batch", ["open", "one"])
def test_a_form_is_scored_together_and_alone(exported, batch, monkeypatch):
    """ONNX Runtime stands for a runtime with an open batch, and for one that takes one sample."""
    portable = dataclasses.replace(TARGETS["portable"], batch=batch)
    monkeypatch.setitem(TARGETS, "portable", portable)
    peer = Peer("portable", "none", partial(edge_form, "portable"))
    row = compare(peer, [Bundle(exported())])
    assert row.version.startswith("ONNX Runtime ") and not row.error and not row.failed


def test_edge_peers_are_the_targets_with_a_loss_that_run_on_a_computer():
    others = {name for name, target in TARGETS.items() if "loss" not in target.graphs}
    assert set(TARGETS) - set(NAMES) == others | {"portable", "litert", "coreml", "zk"}


def test_onnx_runtime_and_tensorflow_lite_are_not_skipped(exported):
    """Both are installed with the tests."""
    bundle = Bundle(exported())
    ran = {peer.name for peer in PEERS if not compare(peer, [bundle]).missing}
    assert ran >= {"ONNX Runtime, CPU", "TensorFlow's tf.lite"}


def test_raw_values_are_compared_too(exported):
    path = exported("dense", "gaussian", (9, 7, 3), variance=0.7, input_dtype="uint8")
    for peer in PEERS:
        assert not compare(peer, [Bundle(path)]).failed, peer.name


def test_samples_run_together_and_each_alone():
    arrays = {"x": np.zeros((3, 4)), "eps": np.ones((3, 2), np.float32)}
    sizes = [(len(batch["x"]), len(batch["eps"])) for batch in batches(arrays)]
    assert sizes == [(3, 3), (1, 1), (1, 1), (1, 1)]


def test_difference_is_relative_and_the_largest():
    reference = [np.float32([100, 200]), np.float32([50])]
    found = [np.float32([100, 200.0002]), np.float32([50])]
    result = difference(found, reference, allowed)
    assert result.relative == pytest.approx(13 * 2**-16 / 200)  # 13 steps of float32
    assert result.agrees and str(result) == "9.9e-07"


@pytest.mark.parametrize(
    ("value", "expected", "cell"),
    [
        (1000.003, 1000, "**3.0e-06**"),
        (0.100009, 0.1, "9.0e-05 *"),  # within the bundle's tolerance of 1e-5
        (np.nan, 1, "**nan**"),
        (0, 0, "0.0e+00"),
        (1, 0, "**inf**"),
    ],
)
def test_differences_beyond_the_tolerance_are_marked(value, expected, cell):
    assert str(difference([np.float32([value])], [np.float32([expected])], allowed)) == cell


def test_another_shape_is_an_error():
    with pytest.raises(ValueError, match=r"shape \(2,\), expected \(1,\)"):
        difference([np.zeros(2)], [np.zeros(1)], allowed)


def test_one_different_sample_is_found(exported):
    row = compare(WRONG, [Bundle(exported())])
    assert [part.agrees for part in row.differences[0] if part] == [True, True, False]
    assert row.failed
    assert not dataclasses.replace(row, peer=dataclasses.replace(WRONG, must_agree=False)).failed


@pytest.mark.parametrize(
    ("wrong", "factor", "agree"),
    [
        ("score", 1.001, [True, True, True, False, False]),
        ("p_value", 1.5, [True, True, True, True, False]),
    ],
)
def test_a_different_score_or_p_value_is_found(wrong, factor, agree, exported):
    peer = Peer("wrong", "x", partial(run_wrongly, wrong=wrong, factor=factor))
    row = compare(peer, [Bundle(exported(score="combined"))])
    assert [part.agrees for part in row.differences[0]] == agree and row.failed
    row = compare(RIGHT, [Bundle(exported(score="combined"))])
    assert all(part.agrees for part in row.differences[0]) and not row.failed


@pytest.mark.parametrize(
    ("peer", "status", "line"),
    [
        (RIGHT, 0, "| right (1.0) | "),
        (WRONG, 1, "DIFFERS: wrong"),
        (Peer("absent", "x", unavailable), 0, "skipped: absent: pip install it"),
        (Peer("broken", "x", broken), 1, "FAILED: broken: RuntimeError: no such operator"),
        (
            Peer("shown", "x", run_wrongly, ("loss",), must_agree=False),
            0,
            "| shown for comparison |",
        ),
    ],
)
def test_the_command(exported, monkeypatch, capsys, peer, status, line):
    monkeypatch.setattr(everywhere, "PEERS", (RIGHT, peer))
    monkeypatch.setattr(everywhere, "EDGE_PEERS", ())
    monkeypatch.setattr(everywhere, "web_peers", lambda *_: ())
    assert everywhere.main([str(exported())]) == status
    assert line in capsys.readouterr().out


def test_table():
    parts = (Difference(1e-7, True), Difference(5e-6, True), Difference(1e-3, False))
    rows = [Row(WRONG, "2", (parts, (None,))), Row(RIGHT, missing="install it")]
    lines = table(rows, ["a: kl", "a: loss", "a: score", "b: loss"]).splitlines()
    assert lines[0] == "| runtime | a: kl | a: loss | a: score | b: loss | needed option |"
    assert lines[2] == "| wrong (2) | 1.0e-07 | 5.0e-06 * | **1.0e-03** | - | x |"
    assert lines[4].startswith("`*` more than usual")
    assert lines[5:] == ["skipped: right: install it", "DIFFERS: wrong"]


BROWSER = """#!{python}
import base64, json, sys, urllib.request
url = sys.argv[-1]
get = lambda path: urllib.request.urlopen(url + path).read()
assert b"/run.mjs" in get("") and b"session.run" in get("run.mjs") and get("ort/ort.mjs") == b"ort"
job = json.loads(get("job.json"))
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(base64.b64decode(job["model"]))
def array(t):
    return np.frombuffer(base64.b64decode(t["data"]), t["type"]).reshape(t["dims"])
names = [output.name for output in session.get_outputs()]
def outputs(batch):
    found = session.run(names, {{name: array(tensor) for name, tensor in batch.items()}})
    return dict(zip(names, (value.tolist() for value in found)))
batches = [outputs(batch) for batch in job["batches"]]
answer = {answer}
urllib.request.urlopen(urllib.request.Request(url + "results", json.dumps(answer).encode()))
"""


@pytest.fixture
def browser(tmp_path):
    """Return a function that writes a Python program which acts as the page in a browser."""
    dist = tmp_path / "onnxruntime-web" / "dist"
    dist.mkdir(parents=True)
    (dist / "ort.mjs").write_text("ort")
    (dist.parent / "package.json").write_text(json.dumps({"version": "1.2.3"}))

    def make(answer):
        program = tmp_path / "browser"
        program.write_text(BROWSER.format(python=sys.executable, answer=answer))
        program.chmod(0o755)
        return web.peers(tmp_path, str(program))[1]

    return make


def test_a_page_receives_its_job_and_returns_the_losses(exported, browser):
    row = compare(browser('{"batches": batches, "version": "B 7"}'), [Bundle(exported())])
    assert (row.version, row.error) == ("1.2.3, B 7", "")
    assert not row.failed


def test_an_error_that_a_page_reports_is_shown(exported, browser):
    row = compare(browser('{"error": "no WebAssembly"}'), [Bundle(exported())])
    assert row.failed and row.error == "WebError: no WebAssembly"


@pytest.mark.parametrize("path", ["nothing", "../README.md", "files/../secret", "files/", "files"])
def test_other_paths_are_not_served(tmp_path, path):
    (tmp_path / "files").mkdir()
    (tmp_path / "secret").write_text("x")
    with web.Server({"/": b"page", "/files/": tmp_path / "files"}) as server:
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            urllib.request.urlopen(server.url + path)
        caught.value.close()


def test_missing_runtimes_are_named(tmp_path, exported, monkeypatch):
    bundle, absent = Bundle(exported()), web.peers(tmp_path)
    for peer in absent:
        assert "npm install --no-save onnxruntime-web" in compare(peer, [bundle]).missing
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    missing = {peer.name: compare(peer, [bundle]).missing for peer in PEERS}
    assert missing["OpenVINO, CPU"] == missing["LiteRT"] == 'pip install ".[peers]"'


def test_a_pack_without_saved_models_is_compared_without_litert(exported, tmp_path):
    packed = Bundle(vae_runtime.pack(exported(), tmp_path / "small.vae").path)
    rows = {peer.name: compare(peer, [packed]) for peer in PEERS}
    assert rows["ONNX Runtime, CPU"].differences
    assert "SavedModels" in rows["TensorFlow's tf.lite"].missing
    assert LOSS_NAMES == ("reconstruction_loss", "kl_loss", "loss")
