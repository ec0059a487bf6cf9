"""A process that scores a bundle by its SavedModels; `tensorflow_peer` starts it and talks to it.

It is run by its path, so that TensorFlow's start is charged with no other import of build-vae than
the loss. Arguments: the folders of encoder and decoder, the loss as JSON, the shape of a sample as
JSON, threads. It prints a line when the first sample is scored; then for each line of standard
input, a JSON object of batch, seconds and warm, the times of its calls.

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

from vae_runtime.cold_start import resident_bytes
from vae_runtime.loss import LossSpec, losses
from vae_runtime.timing import timed_calls

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


def scorer(encoder: str, decoder: str, loss: LossSpec, shape: tuple[int, ...]) -> Any:
    """The loss of samples, by two SavedModels.

    Args:
        encoder: the SavedModel's folder.
        decoder: the same.
        loss: which loss.
        shape: of one sample.

    Returns:
        A function from float32 samples to per-sample losses, in parts, all NumPy arrays.
    """
    saved = [tf.saved_model.load(path) for path in (encoder, decoder)]
    encode, decode = (model.signatures["serving_default"] for model in saved)

    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.float32)])  # type: ignore[untyped-decorator]
    def compute(x: Any) -> Any:
        code = encode(x=x)
        output = decode(z=code["z_mean"])[loss.decoder_output]
        parts = losses(NAMESPACE, loss, x, output, code["z_mean"], code["z_log_var"])
        return parts.reconstruction_loss, parts.kl_loss, parts.loss

    def score(x: np.ndarray[Any, np.dtype[np.float32]]) -> list[Any]:
        return [part.numpy() for part in compute(tf.constant(x))]

    score.owner = saved  # type: ignore[attr-defined]  # signatures do not keep their variables
    return score


def main() -> None:
    """Serves measurements until standard input ends."""
    encoder, decoder, loss, shape_text, threads = sys.argv[1:]
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    shape = tuple(json.loads(shape_text))
    score = scorer(encoder, decoder, LossSpec(**json.loads(loss)), shape)
    score(np.zeros((1, *shape), np.float32))
    print(json.dumps({"version": tf.__version__, "resident_bytes": resident_bytes()}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        rng = np.random.default_rng(asked["batch"])
        x = rng.random((asked["batch"], *shape), dtype=np.float32)
        times = timed_calls(partial(score, x), asked["seconds"], warm=asked["warm"])
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
