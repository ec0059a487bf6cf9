"""Every layer and every activation of Keras: its graph computes what Keras does, or it is refused.

The short form converts the first row of each layer, a dozen in one graph. `--full` converts each
row alone. A layer that Keras adds fails `test_each_layer_has_a_row` until it has one.
"""

import inspect
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers

from keras_layers import ACTIVATIONS, NOT_FOR_MODELS, REFUSED, SHAPES, TAKEN, table
from vae_export import adopt
from vae_export.graphs.convert import convert
from vae_runtime.bundle.graph_fields import GraphSpec, TensorSpec
from vae_runtime.errors import ExportError

ACTIVATION_LAYERS = [("wide", text.format(name)) for name, text in ACTIVATIONS.items()]
FIRST = [rows[0] for rows in TAKEN.values()] + ACTIVATION_LAYERS
ALL = [row for rows in TAKEN.values() for row in rows] + ACTIVATION_LAYERS
A_DOZEN = 12
"""A conversion takes more time than twice that of half as many layers."""

TAILS = [0.0, -0.0, 1e-6, -1e-6, 1e-30, -5.0, 5.5, -5.5, 9.0, -9.0, 20.0, -20.0, 60.0, -60.0]


def samples(kind):
    rng = np.random.default_rng(0)
    shape = (5, *SHAPES[kind])
    if kind == "whole":
        return rng.integers(0, 7, shape).astype(np.float32)
    if kind == "wide":
        middle = np.linspace(-7, 7, np.prod(shape) - len(TAILS))
        return np.concatenate([TAILS, middle]).astype(np.float32).reshape(shape)
    return (rng.random(shape) if kind == "picture" else rng.standard_normal(shape)).astype(
        "float32"
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a function from a kind of samples and expressions to a model with random weights."""

    def saved_model():
        model = keras.Sequential([keras.Input((6,)), layers.Dense(3, activation="gelu")])
        path = tmp_path_factory.mktemp("saved") / "model"
        model.export(path, verbose=False)
        return path

    def adapted(layer, x):
        data = next(samples(kind) for kind, s in SHAPES.items() if s == tuple(x.shape[1:]))
        layer.adapt(3 * data + 1)
        return layer

    def cast(x, dtype="float32"):
        return keras.ops.cast(x, dtype)

    names = {
        **vars(layers),
        "keras": keras,
        "adapted": adapted,
        "cast": cast,
        "saved_model": saved_model,
        "transposed": lambda x: keras.ops.transpose(x, (0, 2, 1)),
    }

    def build(kind, *expressions):
        keras.utils.set_random_seed(1)
        x = keras.Input(SHAPES[kind])
        model = keras.Model(x, [eval(expression, names, {"x": x}) for expression in expressions])
        rng = np.random.default_rng(3)
        for weight in model.weights:
            if weight.dtype == "float32":  # zero biases would hide mistakes, variances are positive
                weight.assign(weight + 0.3 * np.abs(rng.standard_normal(weight.shape)))
        return model

    return build


def outputs(model, x):
    result = model(x, training=False)
    return {f"y{i}": y for i, y in enumerate(result if isinstance(result, list) else [result])}


def errors(model, x):
    """Return the error of each output of the model's graph, relative to the largest value."""
    expected = {name: y.numpy() for name, y in outputs(model, x).items()}
    function = tf.function(
        lambda x: {name: tf.identity(y) for name, y in outputs(model, x).items()},
        input_signature=[tf.TensorSpec((None, *x.shape[1:]), tf.float32, name="x")],
    )
    tensors = [
        TensorSpec(name, "float32", ("batch", *array.shape[1:]))
        for name, array in {"x": x, **expected}.items()
    ]
    data = convert(function, GraphSpec("graph.onnx", 18, (tensors[0],), tuple(tensors[1:])), {})
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    found = session.run(list(expected), {"x": x})
    assert [y.shape for y in found] == [y.shape for y in expected.values()]
    pairs = zip(found, expected.values(), strict=True)
    return [float(np.abs(y - wanted).max() / np.abs(wanted).max()) for y, wanted in pairs]


def test_each_layer_has_a_row():
    found = filter(inspect.isclass, vars(layers).values())
    classes = {value for value in found if issubclass(value, layers.Layer)}
    names = [*TAKEN, *REFUSED, *NOT_FOR_MODELS]
    assert {getattr(layers, name) for name in names} == classes
    assert len(names) == len(classes)  # no layer has two rows
    assert len(TAKEN) > 0.95 * (len(TAKEN) + len(REFUSED))


def test_each_activation_has_a_row():
    aliases = {"swish": "silu", "hard_swish": "hard_silu"}
    others = {"get", "serialize", "deserialize"}
    names = {name for name in dir(keras.activations) if not name.startswith("_")}
    assert names - others - set(aliases) == set(ACTIVATIONS)
    for alias, name in aliases.items():
        assert getattr(keras.activations, alias) is getattr(keras.activations, name)


BY_KIND = {kind: [text for k, text in FIRST if k == kind] for kind in SHAPES}
GROUPS = [
    (kind, found[i : i + A_DOZEN])
    for kind, found in BY_KIND.items()
    for i in range(0, len(found), A_DOZEN)
]


@pytest.mark.parametrize(("kind", "expressions"), GROUPS, ids=range(len(GROUPS)))
def test_graphs_of_many_layers_compute_what_keras_does(built, kind, expressions):
    found = errors(built(kind, *expressions), samples(kind))
    assert {e: n for e, n in zip(expressions, found, strict=True) if not n < 2e-6} == {}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "expression"), ALL)
def test_the_graph_of_each_layer_computes_what_keras_does(built, kind, expression):
    assert errors(built(kind, expression), samples(kind))[0] < 2e-6


@pytest.mark.parametrize("name", REFUSED)
def test_layers_without_an_onnx_form_are_refused_by_name(built, name):
    kind, expression, operator = REFUSED[name]
    with pytest.raises(ExportError, match=rf"^graph holds .*{operator} .*replace the layer"):
        errors(built(kind, expression), samples(kind))


@pytest.mark.parametrize(
    ("layer", "options"),
    [(layers.StringLookup, {}), (layers.TextVectorization, {"output_sequence_length": 1})],
)
def test_layers_of_text_are_refused_by_their_input(layer, options):
    x = keras.Input((1,), dtype="string", name="words")
    h = layers.Embedding(4, 3)(layer(vocabulary=["a", "b"], **options)(x))
    encoder = keras.Model(x, [layers.Dense(2)(layers.Flatten()(h)) for _ in "ab"])
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    with pytest.raises(ExportError, match=r"'words' as string, expected float32"):
        adopt(encoder, decoder)


def test_the_table_in_the_documents_is_this_one():
    text = (Path(__file__).parents[3] / "export" / "README.md").read_text("utf-8")
    assert table() in text
