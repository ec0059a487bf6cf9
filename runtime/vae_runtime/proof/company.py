"""The same samples in other batches: does an output depend on the samples beside it?

The machine chooses chunks and threads, so each sample must give the same outputs in any batch. The
samples that are compared are some of the reference samples, and two that lie halfway to another
one: these are dimmer, so a statistic such as the maximum of a batch differs without them. They run

    alone        one in each call
    in company   in reverse order, in a batch with strangers

Strangers lie 100 times as far out as reference samples, as far as the range of the input allows.
Their own outputs do not matter.

Two values that both agree with TensorFlow's lie at most two tolerances apart, so an output that
changes by more depends on the other samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.proof.differences import Allowed, Difference, compare

Float32 = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]
Run = Callable[[Arrays], Arrays]
"""Computes the outputs of a graph from its inputs; both by name."""

SAMPLES = 6
"""Number of reference samples that are compared; the last three are zeros, ones and noise."""

STRANGERS = 4
DISTANCE = 100
"""Distance of a stranger, relative to that of a reference sample."""

FINITE = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))


@dataclass(frozen=True)
class Companies:
    """Inputs of a graph, by name.

    Attributes:
        rows: the reference samples that are compared.
        samples: inputs of these, then of the two halfway to another one.
        strangers: inputs of the strangers.
    """

    rows: NDArray[np.intp]
    samples: Arrays
    strangers: Arrays


def companies(inputs: Arrays, spec: InputSpec, count: int = SAMPLES) -> Companies:
    """Choose at most `count` of the reference samples, and make the others from all of them."""
    total = len(next(iter(inputs.values())))
    extremes = np.arange(max(0, total - 3), total)
    others = np.unique(np.linspace(0, total - 4, max(0, min(count, total) - 3)).astype(np.intp))
    rows = np.concatenate([others[others >= 0], extremes])
    samples, strangers = {}, {}
    for name, array in inputs.items():
        bounds = FINITE
        if name == "x":
            bounds = (0, 255) if spec.dtype == "uint8" else spec.range or FINITE
        # The first extreme is all zeros in x: half of a picture, and not half of its pixels.
        halves = _moved(array, rows[[0, -1]], extremes[0], 0.5, bounds)
        samples[name] = np.concatenate([array[rows], halves])
        strangers[name] = _moved(array, rows[-STRANGERS:], extremes[0], DISTANCE, bounds)
    return Companies(rows, samples, strangers)


def batch_independence(
    graph: str,
    run: Run,
    inputs: Arrays,
    outputs: Arrays,
    allowed: Allowed,
    spec: InputSpec,
    count: int = SAMPLES,
) -> Difference:
    """Run a graph on samples in other batches; return the output that changes most.

    `inputs` and `outputs` are those of the batch of all reference samples.
    """
    chosen = companies(inputs, spec, count)
    worst = Difference(graph, "", 0.0, 0.0, 0.0, True)
    for name, (found, expected) in _outputs_in_companies(run, chosen, outputs).items():
        difference = compare(graph, name, found, expected, lambda *args: 2 * allowed(*args))
        if not difference.of_tolerance <= worst.of_tolerance or not worst.output:
            worst = difference
    return worst


def _outputs_in_companies(
    run: Run, chosen: Companies, outputs: Arrays
) -> dict[str, tuple[Float32, Float32]]:
    """Return the values of each output, alone and then in company, and those expected.

    Expected are the values in the batch of all reference samples. For the two samples that are not
    in this batch they are the values in company.
    """
    count = len(next(iter(chosen.samples.values())))
    batch = {
        name: np.concatenate([chosen.strangers[name], array[::-1]])
        for name, array in chosen.samples.items()
    }
    company = {name: array[::-1][:count] for name, array in run(batch).items()}
    alone = [
        run({name: array[i : i + 1] for name, array in chosen.samples.items()})
        for i in range(count)
    ]
    result = {}
    for name, values in company.items():
        expected = np.concatenate([outputs[name][chosen.rows], values[len(chosen.rows) :]])
        found = np.stack([np.concatenate([one[name] for one in alone]), values])
        result[name] = _comparable(found), _comparable(np.stack([expected, expected]))
    return result


def _comparable(values: Float32) -> Float32:
    """Replace values that are not finite by large ones, which equal themselves."""
    return np.nan_to_num(values, nan=FINITE[1], posinf=FINITE[1], neginf=FINITE[0])


def _moved(
    array: NDArray[Any],
    rows: NDArray[np.intp],
    origin: int,
    factor: float,
    bounds: tuple[float, float],
) -> NDArray[Any]:
    """Return rows moved to `factor` times their distance from another row, within bounds."""
    start = array[origin].astype(np.float64)
    moved = np.clip(start + factor * (array[rows] - start), *bounds)
    return np.asarray(np.round(moved) if array.dtype == np.uint8 else moved).astype(array.dtype)
