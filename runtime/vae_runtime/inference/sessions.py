"""The graphs of a bundle: checked when it is loaded, run in sessions that open on first use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.graph_fields import GraphSpec, TensorSpec
from vae_runtime.errors import BundleError, InputError, OptionError, ProviderError
from vae_runtime.forking import ForkAware, leak
from vae_runtime.graph.check import check_graph
from vae_runtime.inference.parallel import BatchThreadPool, should_split
from vae_runtime.inference.providers import PROVIDERS, one_line, open_session, short_name

_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}
"""ONNX Runtime's names of the dtypes."""


@dataclass(frozen=True)
class Graph:
    """A graph that passed the check: what the manifest states, the ONNX file, its operators.

    `read` reads the same file again, or raises a `BundleError` if it was changed.
    """

    spec: GraphSpec
    data: bytes
    operators: frozenset[str]
    read: Callable[[], bytes]


def read_graphs(bundle: Bundle, precision: str) -> dict[str, Graph]:
    """Read, hash and check the graphs of one precision, and return them by name.

    A `BundleError` is raised before any session opens, if a file is not the one that the manifest
    lists, or if a graph breaks a rule.
    """
    bundle.check_names()
    graphs = {}
    for name, spec in bundle.manifest.graphs_of(precision).items():
        data = bundle.read(spec.file)
        operators = check_graph(data, spec, str(bundle.path / spec.file))
        graphs[name] = Graph(spec, data, operators, partial(bundle.read, spec.file))
    return graphs


class Sessions(ForkAware):
    """The graphs of one bundle and their sessions; several threads may share the object.

    A session opens when it is first used, so a device that only scores does not pay for the encoder
    and the decoder. With several threads a graph may get two sessions: one whose operators are
    shared by all threads, for small batches, and one that each thread runs on a part of a large
    batch. Batches are split on the CPU only; on other providers `thread_pool` has one thread.

    The child of a fork opens sessions of its own; see `forking`.

    Args:
        graphs: as `read_graphs` returns them.
        providers: ONNX Runtime's names, as `resolve_providers` returns them.
        threads: threads that may compute at once.
        allow_fallback: accept the CPU if the first provider does not start.
    """

    def __init__(
        self,
        graphs: dict[str, Graph],
        providers: Sequence[str],
        *,
        threads: int,
        allow_fallback: bool,
    ) -> None:
        self.providers = list(providers)
        self.thread_pool = BatchThreadPool(threads if self.providers == [PROVIDERS["cpu"]] else 1)
        self._specs = {name: graph.spec for name, graph in graphs.items()}
        self._operators = {name: graph.operators for name, graph in graphs.items()}
        self._models = {name: graph.data for name, graph in graphs.items()}
        self._read_again = {name: graph.read for name, graph in graphs.items()}
        self.threads = threads
        self.allow_fallback = allow_fallback
        self._sessions: dict[tuple[str, int], Any] = {}
        super().__init__()

    def renew(self) -> None:
        """Leave the sessions of the parent, whose threads do not exist in the child of a fork."""
        super().renew()
        leak(self._sessions)
        self._sessions = {}

    def should_split(self, graph: str, samples: int) -> bool:
        """Return whether to split a batch among the threads instead of running it in one call."""
        return should_split(samples, self.thread_pool.size, self._operators[graph])

    def run(
        self,
        graph: str,
        inputs: dict[str, Any],
        *,
        threads: int | None = None,
        names: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Run one graph in one call, as `VAERuntime.run` does; `threads` as for `session`.

        `names` are the outputs to return, by default all.
        """
        session = self.session(graph, threads)
        spec = self._specs[graph]
        names = names or [tensor.name for tensor in spec.outputs]
        call = _run_on_device if _are_ort_values(inputs) else _run_on_arrays
        try:
            outputs = dict(zip(names, call(session, names, inputs), strict=True))
        except Exception as error:  # ONNX Runtime's exceptions have no other common base
            provider = short_name(session.get_providers()[0])
            raise ProviderError(
                f"{spec.file} fails on {provider}: {one_line(error)}: lower batch_size if memory "
                "ran out, else choose another provider or export the bundle again"
            ) from error
        _check_shapes(spec, outputs, _shape(next(iter(inputs.values())))[0])
        return outputs

    def running_providers(self, graph: str) -> list[str]:
        """Return ONNX Runtime's names of the providers that run a graph; may open its session."""
        opened = (self._sessions.get((graph, threads)) for threads in (1, self.threads))
        session = next(filter(None, opened), None) or self.session(graph)
        providers: list[str] = session.get_providers()
        return providers

    def session(self, graph: str, threads: int | None = None) -> Any:
        """Return the session of a graph, and open it on first use.

        With `threads` = 1 the calling thread computes alone; by default all threads share each
        operator. An unknown graph raises an `OptionError`. A session that does not start, or does
        not fit the manifest, raises a `ProviderError` or a `BundleError`.
        """
        key = graph, threads or self.threads
        if (session := self._sessions.get(key)) is not None:
            return session
        if graph not in self._specs:
            raise OptionError(f"graph is {graph!r}, expected one of {', '.join(self._specs)}")
        with self.lock:
            while key not in self._sessions:
                sessions = self._sessions
                sessions[key] = self._open(*key)  # a fork meanwhile would replace the sessions
                kinds = {1, self.threads} if self.thread_pool.size > 1 else {self.threads}
                if all((graph, kind) in sessions for kind in kinds):
                    del self._models[graph]  # only the child of a fork will need it again
            return self._sessions[key]

    def _open(self, graph: str, threads: int) -> Any:
        spec = self._specs[graph]
        if graph not in self._models:
            self._models[graph] = self._read_again[graph]()
        session = open_session(
            self._models[graph],
            self.providers,
            threads=threads,
            allow_fallback=self.allow_fallback,
            where=spec.file,
        )
        _check_tensors(session.get_inputs(), spec.inputs, f"{spec.file} takes")
        _check_tensors(session.get_outputs(), spec.outputs, f"{spec.file} gives")
        return session


def _are_ort_values(inputs: dict[str, Any]) -> bool:
    """Return whether all inputs are `OrtValue`s, which may be on a device; refuse a mixture."""
    kinds = {hasattr(value, "device_name") for value in inputs.values()}
    if len(kinds) > 1:
        raise InputError("some inputs are OrtValues, some are arrays: make all of them the same")
    return True in kinds


def _run_on_arrays(session: Any, names: Sequence[str], inputs: dict[str, Any]) -> list[Any]:
    """Run a session on arrays, and copy the outputs out of its memory.

    To free that memory takes a lock of the session. In the child of a fork it may never be free.
    """
    return [value.copy() for value in session.run(names, inputs)]


def _run_on_device(session: Any, names: Sequence[str], inputs: dict[str, Any]) -> list[Any]:
    """Run a session on `OrtValue`s; the outputs stay on the device, and nothing is copied."""
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    device = next(iter(inputs.values())).device_name()
    for name in names:
        binding.bind_output(name, device)
    session.run_with_iobinding(binding)
    outputs: list[Any] = binding.get_outputs()
    return outputs


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape()) if hasattr(value, "device_name") else np.shape(value)


def _check_shapes(spec: GraphSpec, outputs: dict[str, Any], batch: int) -> None:
    """Check output shapes: a graph may return any, and NumPy would broadcast one row to many."""
    for tensor in spec.outputs:
        if tensor.name not in outputs:
            continue
        if (shape := _shape(outputs[tensor.name])) != (batch, *tensor.shape[1:]):
            raise BundleError(
                f"{spec.file} gives {tensor.name} of shape {shape} for {batch} samples, the "
                f"manifest says {tensor.shape}: build-vae never writes such a graph; export it "
                "again"
            )


def _check_tensors(found: Sequence[Any], expected: tuple[TensorSpec, ...], what: str) -> None:
    """Check a session's inputs or outputs; ONNX Runtime may infer shapes that the file hides."""
    has = [(tensor.name, tensor.type, tuple(tensor.shape)) for tensor in found]
    says = [(spec.name, _TYPES[spec.dtype], spec.shape) for spec in expected]
    if has != says:
        raise BundleError(
            f"{what} {has}, the manifest says {says}: the bundle was edited; export it again"
        )
