"""A bundle's graphs: checked when it is loaded, run in sessions that open when they are needed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Graphs, GraphSpec, TensorSpec
from vae_runtime.errors import BundleError, InputError, OptionError, ProviderError
from vae_runtime.graph.check import check_graph
from vae_runtime.inference.parallel import Team, worthwhile
from vae_runtime.inference.providers import PROVIDERS, open_session, short_name

Float32 = NDArray[np.float32]

_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}
"""ONNX Runtime's names of element types."""


@dataclass(frozen=True)
class Graph:
    """A graph that passed the check.

    Attributes:
        spec: what the manifest says of it.
        data: the bytes of the ONNX file.
        operators: names of those that it uses.
    """

    spec: GraphSpec
    data: bytes
    operators: frozenset[str]


def read_graphs(bundle: Bundle, precision: str) -> dict[str, Graph]:
    """Reads, hashes and checks every graph, so that one bad graph is found before any session.

    Args:
        bundle: where the graphs are.
        precision: which graphs: `float32`, or one of the manifest's variants.

    Returns:
        The graphs by name.

    Raises:
        BundleError: the files are not those that the manifest lists, or a graph breaks a rule.
    """
    bundle.check_names()
    graphs, specs = {}, bundle.manifest.graphs_of(precision)
    for field in fields(Graphs):
        spec: GraphSpec = getattr(specs, field.name)
        data = bundle.read(spec.file)
        operators = check_graph(data, spec, str(bundle.path / spec.file))
        graphs[field.name] = Graph(spec, data, operators)
    return graphs


class Sessions:
    """The graphs of one bundle, and their sessions; threads may share it.

    A session opens when it is first used, so that a device which only scores does not pay for the
    encoder's and the decoder's. With several threads a graph may come
    to have two sessions: one whose operators they share, for few samples, and one that each of them
    runs alone on a part of many.

    Args:
        graphs: as `read_graphs` gives them.
        providers: ONNX Runtime's names, from `providers.resolve`.
        threads: threads that may compute at once.
        allow_fallback: accept the CPU where the first provider does not start.

    Attributes:
        providers: those asked for.
        team: the threads that run parts of a batch; only this one where not on the CPU alone.

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
        self._specs = {name: graph.spec for name, graph in graphs.items()}
        self._outputs = {
            name: [tensor.name for tensor in spec.outputs] for name, spec in self._specs.items()
        }
        self._operators = {name: graph.operators for name, graph in graphs.items()}
        self._threads = threads
        self._allow_fallback = allow_fallback
        self._lock = threading.Lock()
        self._sessions: dict[tuple[str, int], Any] = {}
        self._models = {name: graph.data for name, graph in graphs.items()}
        self.team = Team(threads if self.providers == [PROVIDERS["cpu"]] else 1)

    def in_parts(self, graph: str, count: int) -> bool:
        """Whether so many samples are better given to the team in parts than run in one call."""
        return worthwhile(count, self.team.size, self._operators[graph])

    def run(
        self, graph: str, inputs: dict[str, Any], *, threads: int | None = None
    ) -> dict[str, Any]:
        """Runs one graph as it is, in one call.

        Args:
            graph: `encoder`, `decoder` or `loss`.
            inputs: arrays by name, as the manifest says; all NumPy's or all `OrtValue`s.
            threads: as for `session`.

        Returns:
            All outputs, by name, of the inputs' kind; `OrtValue`s on the first one's device.

        Raises:
            OptionError: there is no such graph.
            InputError: some inputs are NumPy's and some are not.
            ProviderError, BundleError: the session does not start, is not what was checked, or
                fails at work.
        """
        session = self.session(graph, threads)
        names = self._outputs[graph]
        call = partial(_run_bound, session) if _are_bound(inputs) else session.run
        try:
            outputs = dict(zip(names, call(names, inputs), strict=True))
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            running, reason = session.get_providers()[0], " ".join(str(error).split())[:300]
            raise ProviderError(
                f"{self._specs[graph].file} fails on {short_name(running)}: {reason}: lower "
                "batch_size if it is memory, else choose another provider or export the bundle "
                "again"
            ) from error
        self._check_shapes(graph, outputs, _shape(next(iter(inputs.values())))[0])
        return outputs

    def _check_shapes(self, graph: str, outputs: dict[str, Any], batch: int) -> None:
        """A graph may give any shape when it runs, and NumPy would spread one row over many."""
        for spec in self._specs[graph].outputs:
            if (shape := _shape(outputs[spec.name])) != (batch, *spec.shape[1:]):
                raise BundleError(
                    f"{self._specs[graph].file} gives {spec.name} of shape {shape} for {batch} "
                    f"samples, the manifest says {spec.shape}: no graph that build-vae writes "
                    "does; export it again"
                )

    def running(self, graph: str) -> list[str]:
        """ONNX Runtime's names of the providers that really run a graph."""
        opened = (self._sessions.get((graph, threads)) for threads in (1, self._threads))
        session = next(filter(None, opened), None) or self.session(graph)
        providers: list[str] = session.get_providers()
        return providers

    def session(self, graph: str, threads: int | None = None) -> Any:
        """A graph's session, opened when it is first asked for.

        Args:
            graph: `encoder`, `decoder` or `loss`.
            threads: 1, where the calling thread is to compute alone; all of them if left out.

        Raises:
            OptionError: there is no such graph.
            ProviderError, BundleError: the session does not start, or is not what was checked.
        """
        key = graph, threads or self._threads
        if (session := self._sessions.get(key)) is not None:
            return session
        if graph not in self._specs:
            raise OptionError(f"graph is {graph!r}, expected one of {', '.join(self._specs)}")
        with self._lock:
            if key not in self._sessions:
                self._sessions[key] = self._open(*key)
                kinds = {1, self._threads} if self.team.size > 1 else {self._threads}
                if all((graph, kind) in self._sessions for kind in kinds):
                    del self._models[graph]  # there is no other to open
            return self._sessions[key]

    def _open(self, graph: str, threads: int) -> Any:
        spec = self._specs[graph]
        session = open_session(
            self._models[graph],
            self.providers,
            threads=threads,
            allow_fallback=self._allow_fallback,
            where=spec.file,
        )
        _check_tensors(session.get_inputs(), spec.inputs, f"{spec.file} takes")
        _check_tensors(session.get_outputs(), spec.outputs, f"{spec.file} gives")
        return session


def _are_bound(inputs: dict[str, Any]) -> bool:
    """Whether inputs are `OrtValue`s, which may be on a device; none of them, or all."""
    kinds = {hasattr(value, "device_name") for value in inputs.values()}
    if len(kinds) > 1:
        raise InputError("some inputs are OrtValues, some are arrays: make all of them the same")
    return True in kinds


def _run_bound(session: Any, names: Sequence[str], inputs: dict[str, Any]) -> list[Any]:
    """Runs a session where its inputs are, and leaves the outputs there: nothing is copied."""
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    device = next(iter(inputs.values())).device_name()
    for name in names:
        binding.bind_output(name, device)
    session.run_with_iobinding(binding)
    found: list[Any] = binding.get_outputs()
    return found


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, np.ndarray):
        shape: tuple[int, ...] = value.shape
        return shape
    return tuple(value.shape()) if hasattr(value, "device_name") else np.shape(value)


def _check_tensors(found: Sequence[Any], expected: tuple[TensorSpec, ...], what: str) -> None:
    """ONNX Runtime's own view of what was checked before: what it infers may be another shape."""
    has = [(tensor.name, tensor.type, tuple(tensor.shape)) for tensor in found]
    says = [(spec.name, _TYPES[spec.dtype], spec.shape) for spec in expected]
    if has != says:
        raise BundleError(
            f"{what} {has}, the manifest says {says}: the bundle was edited; export it again"
        )
