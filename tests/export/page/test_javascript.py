"""The page's modules in Node: their proof is that of `verify`, their explanations `explain`'s.

Reference and explanations are Python's, computed by another build of ONNX Runtime.
"""

from dataclasses import dataclass

import numpy as np
import pytest

import vae_runtime
from sealing import seal, tamper
from vae_runtime.data.tables.encoding import ColumnEncoding, TableEncoding
from vae_runtime.prior.mixture import Mixture

PICTURE = {"score": "combined"}
ROW = {"reconstruction": "gaussian", "shape": (6,), "score": "combined", "tails": "both"}
MORE = {
    "colour": {"preset": "conv", "shape": (16, 12, 3), "score": "excess_loss"},
    "series": {"reconstruction": "gaussian", "shape": (14, 2), "score": "novelty"},
    "volume": {"reconstruction": "mse", "shape": (4, 6, 6, 1), "score": "loss"},
    "uint8": {"input_dtype": "uint8", "score": "squared_error"},
}
KINDS = [
    pytest.param(PICTURE, id="picture"),
    pytest.param(ROW, id="row"),
    *(pytest.param(kind, id=name, marks=pytest.mark.slow) for name, kind in MORE.items()),
]


@pytest.fixture
def run_in_node(modules):
    """Return a function that runs the page's modules on a bundle and samples."""

    def run(bundle, x=(), condition=None):
        rows = [np.ravel(sample).tolist() for sample in x]
        answer = modules.answer({"bundle": str(bundle), "x": rows, "condition": condition})
        assert "error" not in answer, answer
        return answer

    return run


@dataclass(frozen=True)
class Unusual:
    """Samples of which the last two are far from all others."""

    x: np.ndarray

    @classmethod
    def of(cls, manifest):
        rng = np.random.default_rng(5)
        x = rng.random((3, *manifest.input.shape), dtype=np.float32)
        x[1].ravel()[3:5] = 0.0 if manifest.input.range else 9.0
        x[2] = 1.0
        return cls(np.round(255 * x).astype(np.uint8) if manifest.input.dtype == "uint8" else x)


@pytest.mark.parametrize("kind", KINDS)
def test_proof_and_explanations_are_those_of_python(kind, exported, run_in_node):
    vae = vae_runtime.load(exported(**kind))
    x = Unusual.of(vae.manifest).x
    answer = run_in_node(vae.bundle.path, x)
    check_report(answer["report"], vae.verify())
    check_explanations(vae, x, answer["explanations"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["conditional", "latent_map", "two_heads", "conv_3d", "lstm"])
def test_other_models(kind, run_in_node, tmp_path):
    from edge_kinds import write_bundle

    vae = vae_runtime.load(write_bundle(kind, tmp_path / "vae"))
    x = Unusual.of(vae.manifest).x
    condition = [0.0, 1.0, 0.0] if vae.manifest.condition else None
    answer = run_in_node(vae.bundle.path, x, condition)
    check_report(answer["report"], vae.verify())
    each = condition and np.tile(np.float32(condition), (len(x), 1))
    losses = vae.loss(x, condition=each)
    for i, one in enumerate(answer["explanations"]):
        assert "pValue" not in one  # these bundles have no score
        close(one["reconstruction"], vae.reconstruct(x, condition=each)[i])
        for name, value in one["losses"].items():
            assert value == pytest.approx(getattr(losses, name)[i], rel=1e-5)
        assert sum(one["terms"]) == pytest.approx(losses.reconstruction_loss[i], rel=1e-5)


def check_report(found, expected):
    """The rows are verify's; each part that a browser computes agrees with TensorFlow's values."""
    names = {"javascript": "numpy"}
    rows = [(names.get(row["graph"], row["graph"]), row["output"]) for row in found["differences"]]
    assert rows == [(row.graph, row.output) for row in expected.differences]
    assert [row["graph"] for row in found["independence"]] == [
        row.graph for row in expected.batch_independence
    ]
    assert found["passed"] and expected.passed
    assert found["samples"] == expected.samples
    for row in found["differences"]:
        assert 0 <= row["ofAllowed"] <= 1
        if row["output"] == "loss":
            assert row["relative"] <= 2e-6
    assert found["meanLossReference"] == pytest.approx(expected.mean_loss_reference, rel=1e-12)
    assert found["meanLoss"] == pytest.approx(expected.mean_loss, rel=1e-6)


def check_explanations(vae, x, found):
    why = vae.explain(x)
    losses = vae.loss(x)
    boxes = why.boxes()
    for i, one in enumerate(found):
        for name, value in one["losses"].items():
            assert value == pytest.approx(getattr(losses, name)[i], rel=1e-5)
        assert one["score"] == pytest.approx(why.scores.score[i], rel=1e-4, abs=1e-4)
        assert one["pValue"] == pytest.approx(why.scores.p_value[i], abs=1e-6)
        close(one["reconstruction"], why.reconstruction[i])
        close(one["terms"], why.elements[i])
        close(one["unusual"], why.unusual_elements[i])
        if why.nearest is not None:
            assert one["nearest"] == why.nearest[i]
            close(one["nearestSample"], why.nearest_prototype[i])
        for part in one.get("parts", []):
            expected = why.parts[part["name"]]
            for key in ("value", "u", "share"):
                assert part[key] == pytest.approx(getattr(expected, key)[i], rel=1e-3, abs=1e-4)
        if "box" in one:
            assert one["box"]["start"] == boxes.start[i].tolist()
            assert one["box"]["stop"] == boxes.stop[i].tolist()


def close(found, expected):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected.ravel(), rtol=1e-3, atol=2e-4 * max(scale, 1))


def test_a_wrong_weight_is_found(bundle, run_in_node):
    tamper(bundle)
    report = run_in_node(bundle)["report"]
    assert not report["passed"]
    wrong = {(row["graph"], row["output"]) for row in report["differences"] if not row["agrees"]}
    differences = vae_runtime.load(bundle).verify().differences
    expected = {(row.graph, row.output) for row in differences if not row.agrees}
    assert {("decoder", "logits"), ("decoder", "reconstruction")} <= wrong
    names = {"javascript": "numpy"}
    assert {(names.get(graph, graph), output) for graph, output in wrong} == expected


def test_a_wrong_p_value_is_found(bundle, run_in_node):
    """The p-value is a count: one step more than the score's tolerance allows is a difference."""
    vae_p = bundle / "calibration.npz"
    arrays = dict(np.load(vae_p))
    arrays["float32_scores"] = arrays["float32_scores"] + np.float32(0.5)
    np.savez(vae_p, **arrays)
    report = run_in_node(bundle)["report"]
    (row,) = (row for row in report["differences"] if row["output"] == "p_value")
    assert not row["agrees"] and not report["passed"]


def test_a_dependence_on_the_batch_is_found(bundle, run_in_node):
    import onnx
    from onnx import helper

    model = onnx.load(bundle / "encoder.onnx")
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["own" if name == "z_mean" else name for name in node.output]
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["own"], ["largest"], keepdims=1),
            helper.make_node("Max", ["own", "largest"], ["z_mean"]),
        ]
    )
    (bundle / "encoder.onnx").write_bytes(model.SerializeToString())
    report = run_in_node(bundle)["report"]
    agrees = {row["graph"]: row["agrees"] for row in report["independence"]}
    assert agrees == {"encoder": False, "decoder": True, "loss": True, "score": True}


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_the_mixture_prior(covariance, bundle, run_in_node, modules):
    """Its densities are those of Python, and draws are those that its definition gives."""
    rng, diagonal = np.random.default_rng(0), covariance == "diagonal"
    scales = np.tril(rng.normal(0, 0.3, (2, 3, 3))) + np.eye(3)
    means, weights = rng.normal(size=(2, 3)), np.array([0.3, 0.7])
    scales = np.abs(np.diagonal(scales, axis1=1, axis2=2)) if diagonal else scales
    z = np.load(bundle / "parity.npz")["z"]
    arrays = [array.astype(np.float32) for array in (weights, means, scales)]
    log_density = Mixture(*arrays, np.zeros(len(z), np.float32)).log_densities(z)
    mixture = Mixture(*arrays, log_density.astype(np.float32))
    prior = {"file": "prior.npz", "components": 2, "covariance": covariance}
    seal(bundle, "prior.npz", mixture.to_bytes(), lambda manifest: manifest.update(prior=prior))
    (row,) = (r for r in run_in_node(bundle)["report"]["differences"] if r["graph"] == "prior")
    assert row["output"] == "log_density" and row["agrees"]
    for chance, component in ((0.0, 0), (0.29, 0), (0.31, 1), (0.999999, 1)):
        eps = rng.normal(size=3)
        found = modules.answer({"bundle": str(bundle), "eps": eps.tolist(), "chance": chance})
        scale = np.diag(scales[component]) if diagonal else scales[component]
        np.testing.assert_allclose(found["z"], means[component] + scale @ eps, rtol=1e-5, atol=1e-6)
    wrong = Mixture(*arrays, (log_density + 0.01).astype(np.float32))
    seal(bundle, "prior.npz", wrong.to_bytes())
    report = run_in_node(bundle)["report"]
    assert [row["graph"] for row in report["differences"] if not row["agrees"]] == ["prior"]


AGE = ColumnEncoding("age", "number", fill=(40.5,), indicator=True)
COLOUR = ColumnEncoding("colour, of hair", "category", ("red", "blue", "1"), (0.25, 0.5, 0.25))
MEMBER = ColumnEncoding("member", "boolean", fill=(0.75,))
TABLE = TableEncoding((AGE, COLOUR, MEMBER), "indicator")
CELLS = [
    ["41", "red", "true"],
    [" 1e1", "blue", "False"],
    ["-2.5", "1.0", "1"],
    ["", "NA", "?"],
    ["0.1", "red", "0"],
]


def manifest_of(table):
    columns = [
        {"name": c.name, "kind": c.kind, "categories": c.categories, "fill": c.fill,
         "indicator": c.indicator} for c in table.columns
    ]  # fmt: skip
    data = {"table": {"columns": columns, "unknown_category": table.unknown_category}}
    return {"input": {"shape": [len(table.elements)]}, "data": data}


def test_rows_of_a_table_are_encoded_as_python_encodes_them(modules):
    rows = ["\t".join(cells) for cells in CELLS]
    answer = modules.answer({"manifest": manifest_of(TABLE), "rows": rows})
    columns = zip(*CELLS, strict=True)
    values = [c.read(list(cells))[0] for c, cells in zip(TABLE.columns, columns, strict=True)]
    np.testing.assert_array_equal(answer["x"], TABLE.apply(values))
    again = [*answer["again"][:3], answer["again"][4]]
    assert again == [
        ["41", "red", "true"],
        ["10", "blue", "false"],
        ["-2.5", "1", "true"],
        ["0.1", "red", "false"],
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("41,red,true", [41, 0, 1, 0, 0, 1]),
        ("41;red;true", [41, 0, 1, 0, 0, 1]),
        ("41,5;red;true", [41.5, 0, 1, 0, 0, 1]),
        ('member,id,age,"colour, of hair"\ntrue,7,41,blue', [41, 0, 0, 1, 0, 1]),
        ("41\tgreen\ttrue", "colour, of hair is “green”, a category that the model does not know"),
        ("young\tred\ttrue", "age is “young”, expected a number"),
        ("41\tred\tmaybe", "member is “maybe”, expected true or false"),
        ("41\tred", "the pasted row has 2 cells, expected 3"),
        ("0x10\tred\ttrue", "age is “0x10”, expected a number"),
        ("1e40\tred\ttrue", "age is “1e40”, expected a number"),
    ],
)
def test_pasted_rows(modules, row, expected):
    (x,) = modules.answer({"manifest": manifest_of(TABLE), "rows": [row]})["x"]
    assert x.startswith(expected) if isinstance(expected, str) else x == expected


def test_a_gap_without_a_rule_is_refused(modules):
    table = TableEncoding((ColumnEncoding("age", "number"),))
    (x,) = modules.answer({"manifest": manifest_of(table), "rows": ["NA"]})["x"]
    assert x == "age has no value"
