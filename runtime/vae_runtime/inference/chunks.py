"""Runs of a graph on a batch of any size, in chunks: one after the other, or several at once."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.graph_fields import Graphs
from vae_runtime.data.numbers.denormals import PYTHON_LOOP_MAX, flush_denormals
from vae_runtime.data.samples.inputs import check_values, to_float32
from vae_runtime.errors import InputError
from vae_runtime.inference.memory import memory_errors
from vae_runtime.inference.parallel import split_batch
from vae_runtime.inference.sessions import Sessions
from vae_runtime.inference.unscorable import Run

Float32 = NDArray[np.float32]
Array = NDArray[Any]
Compute = Callable[[slice, Run], dict[str, Float32]]
"""Function from a slice of the samples, and a function that runs a graph on inputs, to outputs."""


@dataclass(frozen=True)
class Chunks:
    """Runs graphs in chunks.

    Attributes:
        sessions: the sessions of the graphs.
        graphs: the graphs' inputs and outputs.
        batch_size: maximum number of samples in one run.
    """

    sessions: Sessions
    graphs: Graphs
    batch_size: int

    def run(
        self,
        graph: str,
        count: int,
        compute: Compute,
        on_progress: Callable[[int], None] | None = None,
        *,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, Float32]:
        """Run a graph on `count` samples; `compute` gives the outputs of a slice of them.

        `outputs` names those that are returned, by default all.
        """
        names = outputs or [tensor.name for tensor in getattr(self.graphs, graph).outputs]
        split = self.sessions.should_split(graph, count)
        if 0 < count <= self.batch_size and not split:
            whole = compute(
                slice(0, count), lambda inputs: self.sessions.run(graph, inputs, names=names)
            )
            if on_progress:
                on_progress(count)
            return whole
        with memory_errors(f"{graph} graph for {count} samples"):
            return self._run_parts(graph, count, compute, on_progress, names, split=split)

    def _run_parts(
        self,
        graph: str,
        count: int,
        compute: Compute,
        on_progress: Callable[[int], None] | None,
        names: Sequence[str],
        *,
        split: bool,
    ) -> dict[str, Float32]:
        """Run a graph on parts of the batch, one after the other, or with `split` at once."""
        sessions, spec = self.sessions, getattr(self.graphs, graph)
        outputs = {
            tensor.name: np.empty((count, *tensor.shape[1:]), np.float32)
            for tensor in spec.outputs
            if tensor.name in names
        }
        lock = threading.Lock()

        def keep(part: slice, values: dict[str, Float32]) -> None:
            for name, value in values.items():
                outputs[name][part] = value
            if on_progress:
                with lock:
                    on_progress(min(part.stop, count) - part.start)

        if split:
            sessions.thread_pool.run(
                lambda part: keep(
                    part,
                    compute(
                        part, lambda inputs: sessions.run(graph, inputs, threads=1, names=names)
                    ),
                ),
                split_batch(count, self.batch_size, sessions.thread_pool.size),
            )
        else:
            for start in range(0, count, self.batch_size):
                part = slice(start, start + self.batch_size)
                keep(part, compute(part, lambda inputs: sessions.run(graph, inputs, names=names)))
        return outputs


def strictly(inputs: Callable[[slice], dict[str, Array]], first: int = 0) -> Compute:
    """Return a function that runs a graph on the inputs of a slice, and refuses bad results.

    In messages sample 0 has the number `first`.
    """

    def compute(part: slice, run: Run) -> dict[str, Float32]:
        outputs = run(inputs(part))
        for name, value in outputs.items():
            _require_finite(name, value, first + part.start)
        return outputs

    return compute


def latent_chunk(rows: NDArray[np.generic], part: slice, name: str) -> Float32:
    """Return a slice of latent samples or noise as float32; refuse values that are not finite."""
    chunk = to_float32(rows[part])
    chunk, in_range = flush_denormals(chunk, None)
    if not in_range:
        check_values(chunk, None, what=f"{name} row", first=part.start)
    return np.ascontiguousarray(chunk)


def _require_finite(name: str, value: Float32, first: int) -> None:
    """Refuse results that overflowed: a score of NaN compares as neither high nor low."""
    if value.size <= PYTHON_LOOP_MAX:
        if all(map(math.isfinite, value.ravel().tolist())):
            return
    elif np.logical_and.reduce(np.isfinite(value), None):
        return
    finite = np.isfinite(value).reshape(len(value), -1).all(axis=1)
    raise InputError(
        f"{name} of sample {first + int(finite.argmin())} is not finite: its values are too large "
        "for this model; scale them as in training"
    )
