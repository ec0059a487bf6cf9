"""The score graph gives TensorFlow's values, for each score and kind of model; variants keep it."""

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from onnx import TensorProto, numpy_helper

import vae_runtime
from vae_builder import build_models
from vae_export import ScorePlan, export
from vae_export.graphs.convert import KEPT_PREFIX
from vae_export.variants.lowering import lower_score
from vae_runtime import Bundle, LossSpec
from vae_runtime.bundle.scores import SCORE_NAMES
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.data.samples.conditions import Conditions, ConditionSpec
from vae_runtime.decision.scorer import read_scorer
from vae_runtime.proof.reference import read_reference

SHAPE = (4, 3, 1)
KINDS = {
    "bce": LossSpec("bce", 0.5),
    "probabilities": LossSpec("bce", decoder="probabilities"),
    "mse": LossSpec("mse"),
    "gaussian": LossSpec("gaussian", variance=0.3),
}


def run(path, inputs, file="score.onnx"):
    session = onnxruntime.InferenceSession(path / file, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def check(path):
    """Compare the graph with the proof, and the proof with the SavedModels' activations."""
    bundle = Bundle(path)
    reference, spec = read_reference(bundle), bundle.manifest.score
    graph = bundle.manifest.graphs.score
    found = run(path, {tensor.name: reference[tensor.name] for tensor in graph.inputs})
    assert list(found) == [tensor.name for tensor in graph.outputs]
    score = reference["score"].astype(np.float64)
    assert (np.abs(found["score"] - score) <= spec.tolerance * (1 + np.abs(score))).all()
    for name in ("reconstruction_loss", "kl_loss", "loss"):
        np.testing.assert_allclose(found[name], reference[f"score_{name}"], rtol=2e-5, atol=2e-5)
    if spec.novelty:
        saved = tf.saved_model.load(str(path / "saved_model" / "encoder"))
        given = {t.name: tf.constant(reference[t.name]) for t in graph.inputs}
        hidden = saved.signatures["activations"](**given)["activations"]
        np.testing.assert_allclose(found["activations"], hidden, rtol=1e-4, atol=1e-5)
    return found, reference


PAIRS = [
    *(("bce", name) for name in SCORE_NAMES),
    ("gaussian", "excess_loss"),
    *(
        pytest.param(kind, name, marks=pytest.mark.slow)
        for kind in ("probabilities", "mse")
        for name in ("excess_loss", "squared_error")
    ),
]


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_each_score_and_each_loss(tmp_path, kind, name):
    import keras

    loss = KINDS[kind]
    encoder, decoder = build_models("dense", SHAPE, 2, (8, 6), seed=1)
    if kind == "probabilities":
        z = keras.Input((2,))
        decoder = keras.Model(z, keras.ops.sigmoid(decoder(z)))
    rng = np.random.default_rng(0)
    samples, training = (rng.random((n, *SHAPE), dtype=np.float32) for n in (30, 40))
    path = tmp_path / "vae"
    export(encoder, decoder, samples, path, loss=loss, scoring=ScorePlan(name, training))
    found, reference = check(path)
    # At z = z_mean the eps of the loss graph plays no part.
    assert not np.array_equal(reference["score_loss"], reference["loss"])
    if name == "loss":
        np.testing.assert_array_equal(found["score"], found["loss"])
    if kind == "mse" and name == "squared_error":
        np.testing.assert_allclose(found["score"], found["reconstruction_loss"], rtol=1e-6)
    if name == "squared_error":
        code = np.asarray(encoder(samples)["z_mean"])
        values = np.float64(decoder(code))
        if kind == "bce":
            values = 1 / (1 + np.exp(-values))
        error = ((samples - values) ** 2).reshape(len(samples), -1).sum(axis=1)
        np.testing.assert_allclose(run(path, {"x": samples})["score"], error, rtol=1e-4)


def test_raw_pixels(exported):
    found, reference = check(exported(score="combined", input_dtype="uint8"))
    assert reference["x"].dtype == np.uint8
    assert np.isfinite(found["score"]).all()


def test_convolutions(exported):
    check(exported("conv", "mse", (9, 7, 3), score="combined"))


def test_standardized_values(tmp_path):
    rng = np.random.default_rng(0)
    training, samples = (100 + 30 * rng.standard_normal((n, 6), np.float32) for n in (60, 40))
    standardization = Standardization((100.0,) * 6, (30.0,) * 6)
    models = build_models("dense", (6,), 2, (8, 5), seed=1)
    path, loss = tmp_path / "vae", LossSpec("gaussian", variance=0.5)
    export(
        *models,
        samples,
        path,
        loss=loss,
        standardization=standardization,
        scoring=ScorePlan("combined", training),
    )
    check(path)
    assert not Bundle(path).manifest.score.novelty.unit_length
    # A value far from the training samples is more unusual than the training samples themselves.
    far = training[:20].copy()
    far[:, 2] += 300
    near, moved = (run(path, {"x": x})["p_value"] for x in (training[:20], far))
    assert np.median(moved) < np.median(near)


def test_conditional_model(tmp_path):
    import keras

    x, c = keras.Input((6,)), keras.Input((3,))
    h = keras.layers.Dense(8, activation="tanh")(keras.layers.Concatenate()([x, c]))
    encoder = keras.Model(
        [x, c], {name: keras.layers.Dense(2)(h) for name in ("z_mean", "z_log_var")}
    )
    z = keras.Input((2,))
    decoder = keras.Model([z, c], keras.layers.Dense(6)(keras.layers.Concatenate()([z, c])))
    rng = np.random.default_rng(0)
    spec = ConditionSpec((3,), None)
    rows = [rng.random((n, 3), dtype=np.float32) for n in (40, 50)]
    samples, training = (rng.standard_normal((n, 6), np.float32) for n in (40, 50))
    path = tmp_path / "vae"
    export(
        encoder,
        decoder,
        samples,
        path,
        loss=LossSpec("mse"),
        conditions=Conditions(spec, rows[0]),
        scoring=ScorePlan("combined", training, Conditions(spec, rows[1])),
    )
    found, reference = check(path)
    other = {"x": reference["x"], "condition": 1 - reference["condition"]}
    assert not np.allclose(run(path, other)["score"], found["score"])
    scorer = read_scorer(Bundle(path))
    assert len(scorer.gaussians) == 1
    assert np.load(path / "novelty.npz")["condition"].shape == (50, 3)


@pytest.mark.parametrize("method", ["weights", "dynamic", "static"])
def test_variants_keep_the_nodes_of_the_score(exported, method):
    path = exported("dense", "bce", (12, 12, 1), score="combined")
    spec = Bundle(path).manifest.graphs.score
    data = (path / "score.onnx").read_bytes()
    x = np.random.default_rng(1).random((30, 12, 12, 1), dtype=np.float32)
    lowered = lower_score(data, spec, method, {"x": x}, both_tails=False)
    before, after = (onnx.load_from_string(d).graph for d in (data, lowered))

    def kept(graph):
        constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        nodes = [n for n in graph.node if n.name.startswith(KEPT_PREFIX)]
        own = [
            (constants[name].dtype, constants[name].shape, constants[name].tobytes())
            for node in nodes
            for name in node.input
            if name in constants
        ]
        return [n.op_type for n in nodes], sorted(own, key=lambda c: (str(c[0]), c[1:]))

    assert kept(before) == kept(after)
    assert len(kept(before)[0]) > 10
    types = {t.data_type for t in after.initializer}
    assert types & {TensorProto.FLOAT16, TensorProto.INT8, TensorProto.UINT8}
    assert lowered != data


def test_a_score_is_the_same_alone_and_in_a_batch(exported):
    vae = vae_runtime.load(exported(score="combined"), tuned=False)
    x = np.random.default_rng(3).random((9, 8, 8, 1), dtype=np.float32)
    together = vae.score(x)
    for i in range(9):
        alone = vae.score(x[i : i + 1])
        np.testing.assert_allclose(alone.score, together.score[i : i + 1], rtol=1e-5)
