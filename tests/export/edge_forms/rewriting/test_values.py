"""Rewritten graphs give the values of the graphs that they come from, for every target.

The short form rewrites small presets; `--full` rewrites bundles of every kind of architecture.
"""

import numpy as np
import onnx
import onnxruntime
import pytest

from edge_kinds import KINDS, write_bundle
from vae_export.edge_forms.form import choose_form
from vae_export.edge_forms.rewriting.opsets import to_opset
from vae_export.edge_forms.rewriting.registry import REWRITES, rewritten
from vae_export.edge_forms.targets import TARGETS
from vae_runtime import Bundle

RTOL = 2e-6
PRESETS = {
    "dense": {"score": "combined"},
    "conv": {"preset": "conv", "shape": (9, 7, 3), "score": "combined", "tails": "both"},
    "mse": {"reconstruction": "mse", "shape": (5,)},
}


def run(model, feed):
    data = model if isinstance(model, bytes) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def feed_of(model, batch):
    rng = np.random.default_rng(batch)
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim[1:]] for v in model.graph.input
    }
    return {name: rng.random((batch, *s), dtype=np.float32) for name, s in shapes.items()}


def largest_difference(model, changed, batch):
    """Return the largest difference of an output, relative to the output's largest value."""
    feed = feed_of(model, batch)
    expected, found = run(model, feed), run(changed, feed)
    assert found.keys() <= expected.keys()
    differences = []
    for name, value in found.items():
        assert (value.shape, value.dtype) == (expected[name].shape, np.float32), name
        difference = np.abs(value.astype(np.float64) - expected[name]).max()
        differences.append(difference / np.abs(expected[name]).max())
    return max(differences)


def differences_of(bundle):
    """Return what differs by more than RTOL: target, graph, batch -> difference."""
    source, found, measured = Bundle(bundle), {}, {}
    for target in TARGETS.values():
        for batch in (1,) if target.batch == "one" else (1, 3):
            sizes = [batch, "open"] if target.batch == "open" else [batch]
            for size in sizes:
                form = choose_form(source.manifest, target.name, size, "float32")
                for name, graph in form.graphs_of(source).items():
                    data = (bundle / f"{name}.onnx").read_bytes()
                    known = (data, graph.data, batch)  # targets with the same rewrites
                    if known not in measured:
                        model = onnx.load_from_string(data)
                        measured[known] = largest_difference(model, graph.data, batch)
                    found[target.name, name, size] = measured[known]
    assert len(found) > 2 * len(TARGETS)
    return {key: value for key, value in found.items() if not value <= RTOL}


@pytest.mark.parametrize("name", ["dense", "conv", pytest.param("mse", marks=pytest.mark.slow)])
def test_every_target_gives_the_same_values(exported, name):
    assert differences_of(exported(**PRESETS[name])) == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_target_gives_the_same_values_for_every_kind(kind, tmp_path):
    assert differences_of(write_bundle(kind, tmp_path / "bundle")) == {}


@pytest.mark.parametrize("opset", [13, 15, 17])
@pytest.mark.parametrize("graph", ["encoder", "decoder", "loss", "score"])
def test_older_opsets_give_the_same_values(exported, graph, opset):
    model = onnx.load(exported(**PRESETS["conv"]) / f"{graph}.onnx")
    older = to_opset(model, opset)
    onnx.checker.check_model(older, full_check=True)
    assert [entry.version for entry in older.opset_import] == [opset]
    assert largest_difference(model, older, 3) == 0


@pytest.mark.parametrize("name", [*REWRITES, "older opset"])
def test_a_rewrite_leaves_its_argument_alone(exported, name):
    rewrite = REWRITES.get(name) or (lambda model: to_opset(model, 13))
    for graph in ("decoder", "loss"):
        model = onnx.load(exported(**PRESETS["dense"]) / f"{graph}.onnx")
        before = model.SerializeToString()
        rewrite(model)
        assert model.SerializeToString() == before


def test_the_same_graph_gives_the_same_bytes(exported):
    model = onnx.load(exported(**PRESETS["dense"]) / "loss.onnx")
    first, second = (rewritten(model, TARGETS["portable"]) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )
