"""Models whose outputs for a sample depend on the samples beside it are refused by their layer."""

import json
import re

import keras
import numpy as np
import pytest
from keras import layers, ops

import vae_export.bundle_writer
import vae_runtime
from vae_export import adopt, export
from vae_export.graphs.functions import exported_functions
from vae_export.independence import any_number_of_samples, require_batch_independence
from vae_export.reference import parity_inputs
from vae_runtime import ExportError, LossSpec
from vae_runtime.bundle.graph_fields import InputSpec

SAMPLES = np.random.default_rng(0).random((9, 12), dtype=np.float32)
SPEC, LOSS = InputSpec((12,), range=None), LossSpec("mse")


class AlwaysTraining(layers.BatchNormalization):
    """Batch normalization that never uses its moving averages."""

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=True)


class Subclassed(keras.Model):
    """Encoder or decoder whose inside is hidden, with one layer between its dense layers."""

    def __init__(self, layer, heads, units):
        super().__init__(name="subclassed")
        self.before, self.layer = layers.Dense(8), layer
        self.heads = [layers.Dense(units) for _ in range(heads)]

    def call(self, x, training=None):
        hidden = self.layer(self.before(x))
        outputs = [head(hidden) for head in self.heads]
        return outputs if len(outputs) > 1 else outputs[0]


def minibatch_deviation(x):
    deviation = ops.mean(ops.std(x, axis=0))
    return ops.concatenate([x, deviation + ops.zeros_like(x[:, :1])], -1)


def groups_of_four(x):
    groups = ops.reshape(x, (-1, 4, 8))
    return ops.reshape(groups - ops.mean(groups, axis=1, keepdims=True), (-1, 8))


def function(body):
    return lambda: layers.Lambda(body, name="function")


MIXING = {
    "division by the maximum": function(lambda x: x / ops.max(ops.abs(x))),
    "a little of the mean": function(lambda x: x - 1e-3 * ops.mean(x, axis=0)),
    "always in training": lambda: AlwaysTraining(name="function"),
    "minibatch deviation": function(minibatch_deviation),
    "softmax": lambda: layers.Softmax(axis=0, name="function"),
    "sort": function(lambda x: ops.sort(x, axis=0)),
    "neighbour": function(lambda x: x + ops.roll(x, 1, axis=0)),
    "only for a stranger": function(lambda x: x / ops.maximum(30.0, ops.max(ops.abs(x)))),
    "in a nested model": lambda: keras.Sequential(
        [layers.Dense(8), layers.Softmax(axis=0, name="function"), layers.Dense(8)], name="block"
    ),
}


def models(in_encoder=None, in_decoder=None):
    keras.utils.set_random_seed(0)
    x, z = keras.Input((12,)), keras.Input((3,))
    hidden, decoded = layers.Dense(8, name="hidden")(x), layers.Dense(8)(z)
    hidden = in_encoder(hidden) if in_encoder else hidden
    decoded = in_decoder(decoded) if in_decoder else decoded
    encoder = keras.Model(x, [layers.Dense(3, name="z_mean")(hidden), layers.Dense(3)(hidden)])
    return encoder, keras.Model(z, layers.Dense(12)(decoded))


def check(encoder, decoder):
    """Compute the reference values, and check that no sample depends on the others."""
    adopted = adopt(encoder, decoder, LOSS, (12,))
    both = {"encoder": adopted.encoder, "decoder": adopted.decoder}
    functions = exported_functions(*both.values(), LOSS, SPEC)
    x, eps = parity_inputs(SAMPLES, (3,), SPEC)
    with any_number_of_samples(both):
        code = functions["encoder"](x)
        z = code["z_mean"] + ops.exp(code["z_log_var"] / 2) * eps
        values = {**code, "z": z, **functions["decoder"](z)}
        reference = {"x": x, **{name: np.asarray(value) for name, value in values.items()}}
        require_batch_independence(both, functions, SPEC, reference)
    return adopted, x


@pytest.mark.parametrize(
    ("where", "kind"),
    [*(("encoder", kind) for kind in MIXING), ("decoder", "always in training")],
)
def test_a_layer_that_mixes_samples_is_refused_by_name(kind, where):
    with pytest.raises(ExportError) as caught:
        check(*models(**{f"in_{where}": MIXING[kind]()}))
    assert str(caught.value).startswith(f"{where}: layer 'function' mixes the samples of a batch: ")
    assert "compute each sample by itself" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_change_is_that_of_the_keras_model():
    encoder, decoder = models(in_encoder=MIXING["a little of the mean"]())
    with pytest.raises(ExportError) as caught:
        check(encoder, decoder)
    x = parity_inputs(SAMPLES, (3,), SPEC)[0]
    together = [np.asarray(part) for part in encoder(x)]
    singles = [encoder(x[i : i + 1]) for i in range(len(x))]
    alone = [np.concatenate(parts) for parts in zip(*singles, strict=True)]
    found = float(re.search(r"changes by (\S+) with", str(caught.value)).group(1))
    assert found >= 0.99 * max(np.abs(a - b).max() for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_subclassed_model_is_named(role):
    ours = {"encoder": Subclassed(layers.Softmax(axis=0), 2, 3), "decoder": None}
    if role == "decoder":
        ours = {"encoder": None, "decoder": Subclassed(AlwaysTraining(), 1, 12)}
    encoder, decoder = (mine or other for mine, other in zip(ours.values(), models(), strict=True))
    encoder(SAMPLES), decoder(SAMPLES[:, :3])
    with pytest.raises(ExportError, match=f"{role}: model 'subclassed' mixes the samples"):
        check(encoder, decoder)


def test_a_layer_that_needs_a_multiple_of_samples_is_named():
    with pytest.raises(ExportError) as caught:
        check(*models(in_decoder=function(groups_of_four)()))
    message = "decoder: layer 'function' does not take every number of samples (Input to reshape"
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


class Attention(layers.Layer):
    """Attention among the parts of one sample."""

    def __init__(self):
        super().__init__()
        self.attention = layers.MultiHeadAttention(2, 2)

    def call(self, x):
        parts = ops.reshape(x, (-1, 4, 2))
        return ops.reshape(self.attention(parts, parts), (-1, 8))


def test_layers_that_compute_each_sample_alone_are_accepted():
    def block(x):
        for layer in (
            layers.BatchNormalization(),
            layers.LayerNormalization(),
            layers.GroupNormalization(4),
            layers.Dropout(0.5),
            Attention(),
            layers.Lambda(lambda x: ops.sort(x / ops.max(ops.abs(x), axis=1, keepdims=True))),
            layers.Softmax(),
        ):
            x = layer(x)
        return x

    check(*models(block, block))


def test_a_bundle_that_mixes_samples_fails_on_the_device(tmp_path, monkeypatch, call):
    """Such a bundle comes from elsewhere: here the checks are switched off, one after the other."""
    adopted = adopt(*models(in_decoder=MIXING["division by the maximum"]()), LOSS, (12,))
    arguments = (adopted.encoder, adopted.decoder, SAMPLES, tmp_path / "vae")
    monkeypatch.setattr(vae_export.bundle_writer, "require_batch_independence", lambda *_: None)
    with pytest.raises(ExportError, match="decoder: layer 'function' mixes"):  # in the graph
        export(*arguments, loss=LOSS)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(vae_export.bundle_writer.BundleWriter, "require_passed", lambda *_: None)
    vae = vae_runtime.load(export(*arguments, loss=LOSS).path)
    status, out, _ = call("verify", tmp_path / "vae", "--json")
    assert status == 1
    told = json.loads(out)
    assert told["passed"] is False
    assert all(row["agrees"] for row in told["differences"])
    agree = {row["graph"]: row["agrees"] for row in told["batch_independence"]}
    assert agree == {"encoder": True, "decoder": False, "loss": False, "score": False}
    text = str(vae.verify())
    assert re.search(r"^decoder  in other batches .* DEPENDS$", text, re.MULTILINE)
    assert "FAILED: an output depends on the samples beside it" in text
