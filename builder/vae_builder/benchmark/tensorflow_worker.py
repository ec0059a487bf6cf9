"""Process that scores a bundle with TensorFlow; `tensorflow_peer` starts it and talks to it.

It is run by its path, so that nothing of `vae_builder` adds to its start time. Arguments: the
bundle's folder and the number of threads. It prints one line after its first score. For each line
of standard input, a JSON object of batch, seconds and warm, it prints the times of the calls.

One call does the same as `VAERuntime.loss`: it turns a NumPy array into the losses of each sample,
as NumPy arrays, with both SavedModels in one `tf.function` at z = z_mean.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from vae_runtime.benchmark.cold_start import peak_resident_bytes
from vae_runtime.benchmark.timing import random_samples, timed_calls
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.manifest import loss_input
from vae_runtime.data.numbers.standardization import standardize
from vae_runtime.loss import losses

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
"""Array namespace for the loss. `keras.ops` has these functions too, but its import takes 1 s."""


def scorer(bundle: Bundle) -> Any:
    """Return a function from samples to their losses, in the order of `LOSS_NAMES`, in NumPy."""
    saved, sample, loss = bundle.manifest.saved_models, bundle.manifest.input, bundle.manifest.loss
    condition = bundle.manifest.condition
    assert saved is not None
    models = [
        tf.saved_model.load(str(bundle.path / model.path))
        for model in (saved.encoder, saved.decoder)
    ]

    @tf.function(input_signature=[tf.TensorSpec((None, *sample.shape), sample.dtype)])
    def compute(x: Any) -> Any:
        # Signatures do not keep their variables alive. Looking them up here keeps the models.
        encode, decode = (model.signatures["serving_default"] for model in models)
        given = {}
        if condition:
            given = {"condition": tf.zeros((tf.shape(x)[0], *condition.shape))}
        code = encode(x=x, **given)
        output = loss_input(sample, loss, decode(z=code["z_mean"], **given))
        floats = tf.cast(x, tf.float32) / (255.0 if sample.dtype == "uint8" else 1.0)
        target = standardize(NAMESPACE, sample.standardization, floats)
        return tuple(losses(NAMESPACE, loss, target, output, code["z_mean"], code["z_log_var"]))

    return lambda x: [part.numpy() for part in compute(tf.constant(x))]


def main() -> None:
    """Answer requests until standard input ends."""
    path, threads = sys.argv[1:]
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    bundle = Bundle(path)
    sample = bundle.manifest.input
    shape, dtype = sample.shape, sample.dtype
    score = scorer(bundle)
    score(np.zeros((1, *shape), dtype))
    answer = {"version": tf.__version__, "resident_bytes": peak_resident_bytes()}
    print(json.dumps(answer), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        x = random_samples(request["batch"], shape, dtype, sample.unit_values)
        times = timed_calls(partial(score, x), request["seconds"], warm=request["warm"])
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
