"""A process that scores a bundle by its SavedModels; `tensorflow_peer` starts it and talks to it.

It is run by its path, so that TensorFlow's start is charged with no other import of build-vae than
the loss. Arguments: the folders of encoder and decoder, the manifest as JSON, threads. It prints a
line when the first sample is scored; then for each line of standard input, a JSON object of batch,
seconds and warm, the times of its calls.

One call takes a NumPy array to the per-sample losses as NumPy arrays, in one `tf.function` around
both SavedModels at z = z_mean: as `VAERuntime.loss`.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from vae_runtime.benchmark.cold_start import resident_bytes
from vae_runtime.benchmark.timing import noise_samples, timed_calls
from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.manifest import decoder_outputs
from vae_runtime.data.standardization import standardize
from vae_runtime.loss import losses
from vae_runtime.strict_json import decode, parse

NAMESPACE = SimpleNamespace(
    abs=tf.abs,
    clip=tf.clip_by_value,
    exp=tf.exp,
    log=tf.math.log,
    maximum=tf.maximum,
    reshape=tf.reshape,
    square=tf.square,
    sum=tf.reduce_sum,
)
"""What the loss needs, by NumPy's names; `keras.ops` has them too, but takes a second to import."""


def scorer(encoder: str, decoder: str, manifest: Manifest) -> Any:
    """The loss of samples, by two SavedModels.

    Args:
        encoder: the SavedModel's folder.
        decoder: the same.
        manifest: what a sample and the loss are.

    Returns:
        A function from samples to per-sample losses, in parts, all NumPy arrays.
    """
    models = [tf.saved_model.load(path) for path in (encoder, decoder)]
    sample, loss = manifest.input, manifest.loss
    signature = [tf.TensorSpec((None, *sample.shape), sample.dtype)]

    @tf.function(input_signature=signature)
    def compute(x: Any) -> Any:
        # Looked up here, so that it holds the models: signatures do not keep their variables.
        encode, decode = (model.signatures["serving_default"] for model in models)
        code = encode(x=x)
        output = decode(z=code["z_mean"])[decoder_outputs(sample, loss)[0]]
        floats = tf.cast(x, tf.float32) / (255.0 if sample.dtype == "uint8" else 1.0)
        seen = standardize(NAMESPACE, sample.standardization, floats)
        parts = losses(NAMESPACE, loss, seen, output, code["z_mean"], code["z_log_var"])
        return tuple(parts)

    def score(x: np.ndarray[Any, Any]) -> list[Any]:
        return [part.numpy() for part in compute(tf.constant(x))]

    return score


def main() -> None:
    """Serves measurements until standard input ends."""
    encoder, decoder, text, threads = sys.argv[1:]
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    manifest = parse(Manifest, decode(text.encode()))
    shape, dtype = manifest.input.shape, manifest.input.dtype
    score = scorer(encoder, decoder, manifest)
    score(np.zeros((1, *shape), dtype))
    print(json.dumps({"version": tf.__version__, "resident_bytes": resident_bytes()}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        x = noise_samples(asked["batch"], shape, dtype)
        times = timed_calls(partial(score, x), asked["seconds"], warm=asked["warm"])
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
