"""What the z that an encoder draws says about its two other outputs.

    z ~ N(center, (c * sigma)^2)       in each latent dimension, for each of a few samples

One of the two outputs is `center`, and the other is sigma on some scale. z is drawn `DRAWS` times.
A reading fits if mean and standard deviation of the draws are within `Z_SCORE` of their standard
errors, sigma / sqrt(n) and sigma / sqrt(2 n), in every dimension of every sample. Nothing is summed
over samples or dimensions, because an encoder may give them the same noise. With 16,384 draws a
standard deviation that is off by 5 % is found. For 10,000 values, a right reading is refused with
a probability below 1e-10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_export.adoption.tracing.graph_part import GraphPart
from vae_export.adoption.tracing.readings import Scale, log_std
from vae_export.adoption.tracing.subgraph import (
    Subgraph,
    data_inputs,
    needed,
    node_of,
    subgraph_of_model,
)

Float64 = NDArray[np.float64]

DRAWS = 16384
"""Number of times that z is drawn for each sample."""
SEED = 20140503
"""Seed of these draws."""
Z_SCORE = 8.0
"""Largest allowed difference, in standard errors."""
STATELESS = {
    **dict.fromkeys(
        ("StatelessRandomNormal", "StatelessRandomNormalV2"), ("RandomStandardNormal", 0)
    ),
    "StatefulStandardNormal": ("RandomStandardNormal", 1),
    "StatefulStandardNormalV2": ("RandomStandardNormal", 2),
    **dict.fromkeys(("StatelessRandomUniform", "StatelessRandomUniformV2"), ("RandomUniform", 0)),
    "StatefulUniform": ("RandomUniform", 2),
    **dict.fromkeys(
        ("StatelessTruncatedNormal", "StatelessTruncatedNormalV2"), ("TruncatedNormal", 0)
    ),
    "StatefulTruncatedNormal": ("TruncatedNormal", 2),
}
"""Operators whose numbers depend on a key or on a generator's state: the operator that draws the
same distribution by a seed of its own, and the number of the input that states the shape."""
LEAST_SPREAD = 1e-4
"""Smallest standard deviation, relative to the mean, that float32 resolves in z - mean."""


@dataclass(frozen=True)
class Draws:
    """Two outputs of an encoder for a few samples, and what was drawn.

    Attributes:
        outputs: the two outputs, float64, shape `(samples, *latent_shape)`.
        mean: mean of the draws of z, same shape.
        std: standard deviation of the draws of z, same shape.
    """

    outputs: tuple[Float64, Float64]
    mean: Float64
    std: Float64

    def factor(self, scale: Scale, *, swapped: bool) -> float | None:
        """Return c if z ~ N(center, (c * sigma)^2), exactly 1 if it may be 1; else None."""
        center, s = self.outputs[::-1] if swapped else self.outputs
        log_sigma = log_std(s, scale)
        with np.errstate(all="ignore"):
            log_ratio = np.log(self.std) - log_sigma
            largest = np.maximum(self.std, np.exp(log_sigma))
            # Below this, the rounding of z hides how it is spread.
            resolved = ~(largest < LEAST_SPREAD * np.abs(self.mean)) & np.isfinite(self.mean)
        ratios, off = log_ratio[resolved], np.abs(self.mean - center)[resolved]
        if not ratios.size:
            return 1.0
        if not np.isfinite(ratios).all():
            return None
        if (off > Z_SCORE * self.std[resolved] / math.sqrt(DRAWS)).any():
            return None
        bound = Z_SCORE / math.sqrt(2 * (DRAWS - 1))
        if np.abs(ratios).max() < bound:
            return 1.0
        return math.exp(np.median(ratios)) if np.ptp(ratios) < 2 * bound else None


def draw(x: Any, pair: tuple[Any, Any], z: Any, samples: NDArray[np.float32]) -> Draws:
    """Draw z for samples; `x`, `pair` and `z` are symbolic tensors of the user's encoder."""
    known, sampler = _split(subgraph_of_model(keras.Model(x, [*pair, z]), loops=False))
    first, second, *causes = GraphPart(known)(samples)
    near = tf.cast(first, tf.float64)
    mean, std = _moments(GraphPart(sampler), causes, near)
    outputs = (np.asarray(first, np.float64), np.asarray(second, np.float64))
    return Draws(outputs, mean, std)


def _split(part: Subgraph) -> tuple[Subgraph, Subgraph]:
    """Return the parts x -> pair and causes of z, and causes -> z.

    The causes are the last tensors before z that involve no random numbers. Only what comes after
    them is computed again for each draw, with fresh noise that changes no state of a generator.
    """
    *pair, z = part.outputs
    fresh = [_with_own_noise(node, number) for number, node in enumerate(part.nodes.values())]
    nodes = needed(fresh, [z])
    drawn = _after(nodes, {name for name, node in nodes.items() if part.is_random(node)})
    inputs = (source for name in drawn for source in data_inputs(nodes[name]))
    fixed = {name for name, node in nodes.items() if node.op == "Const"} | part.captured.keys()
    causes = [name for name in inputs if node_of(name) not in drawn | fixed] if drawn else [z]
    causes = sorted({name if ":" in name else f"{name}:0" for name in causes})
    return part.between(part.inputs, [*pair, *causes]), part.between(causes, [z], nodes)


def _with_own_noise(node: Any, number: int) -> Any:
    """Return a node that draws by a seed of its own; a node that is not random as it is."""
    copy = tf.compat.v1.NodeDef()
    copy.CopyFrom(node)
    if node.op in STATELESS:
        usual, at = STATELESS[node.op]
        shape_type = next(name for name in ("Tshape", "shape_dtype", "T") if name in node.attr)
        copy = tf.compat.v1.NodeDef(name=node.name, op=usual, input=[node.input[at]])
        copy.attr["dtype"].CopyFrom(node.attr["dtype"])
        copy.attr["T"].CopyFrom(node.attr[shape_type])
    if node.op in STATELESS or "seed2" in node.attr:
        copy.attr["seed"].i, copy.attr["seed2"].i = SEED, number
    return copy


def _after(nodes: dict[str, Any], sources: set[str]) -> set[str]:
    """Return the nodes that depend on `sources`, themselves included."""
    users: dict[str, list[str]] = {}
    for name, node in nodes.items():
        for source in data_inputs(node):
            users.setdefault(node_of(source), []).append(name)
    found: set[str] = set()
    left = list(sources)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left.extend(users.get(name, ()))
    return found


def _moments(sampler: Any, causes: list[Any], near: Any) -> tuple[Float64, Float64]:
    """Return mean and standard deviation of the draws; `near` is subtracted first."""

    def add(count: Any, total: Any, squares: Any) -> tuple[Any, Any, Any]:
        difference = tf.cast(sampler(causes)[0], tf.float64) - near
        return count + 1, total + difference, squares + tf.square(difference)

    def loop() -> Any:
        zeros = tf.zeros_like(near)
        return tf.while_loop(lambda count, *_: count < DRAWS, add, (0, zeros, zeros))[1:]

    function = tf.function(loop, autograph=False).get_concrete_function()
    total, squares = (np.asarray(sums) / DRAWS for sums in function())
    variance = np.maximum(squares - np.square(total), 0.0) * DRAWS / (DRAWS - 1)
    return total + np.asarray(near), np.sqrt(variance)
