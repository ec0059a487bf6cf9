"""The light runtime: a loaded bundle that encodes, decodes, scores and proves itself.

```python
import vae_runtime

vae = vae_runtime.load("digits-vae")
scores = vae.loss(images).loss      # nats per image, shape (batch,)
print(vae.verify())                 # the table of differences from TensorFlow
```

NumPy in, NumPy out. Batches of any size run in chunks, so memory stays bounded, and one object
may be shared between threads.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest
from vae_runtime.data.inputs import as_batch, check_values, to_float32, to_input
from vae_runtime.errors import InputError, OptionError
from vae_runtime.inference.parallel import Parts
from vae_runtime.inference.providers import short_name
from vae_runtime.inference.sessions import Graph, Sessions
from vae_runtime.inference.tuning import check_counts
from vae_runtime.loss import Losses
from vae_runtime.proof.parity import VerifyReport, read_reference, verify_runtime

Float32 = NDArray[np.float32]
Array = NDArray[Any]

FEW = 16
"""Values that Python looks through sooner than NumPy begins."""


@dataclass(frozen=True)
class Encoding:
    """What the encoder says of each sample: q(z|x) = N(z_mean, exp(z_log_var)).

    Attributes:
        z_mean: means, shape `(batch, latent_dim)`.
        z_log_var: logarithms of the variances, shape `(batch, latent_dim)`.
    """

    z_mean: Float32
    z_log_var: Float32


class VAERuntime:
    """A bundle, loaded. Made by `load`.

    Attributes:
        bundle: the files and the manifest.
        precision: of the graphs that run: `float32`, or one of the manifest's variants.
    """

    def __init__(
        self,
        bundle: Bundle,
        precision: str,
        graphs: dict[str, Graph],
        providers: Sequence[str],
        *,
        threads: int,
        batch_size: int,
        allow_fallback: bool,
    ) -> None:
        self.bundle = bundle
        self.precision = precision
        self._batch_size = batch_size
        self._sessions = Sessions(graphs, providers, threads=threads, allow_fallback=allow_fallback)

    def __repr__(self) -> str:
        m = self.manifest
        return (
            f"<VAERuntime {m.name!r}: {m.input.shape} -> {m.latent_dim}, {m.loss.reconstruction}, "
            f"{self.precision} on {', '.join(map(short_name, self._sessions.providers))}>"
        )

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.bundle.manifest

    @property
    def providers(self) -> list[str]:
        """ONNX Runtime's names of the providers that really run, the first one preferred."""
        return self._sessions.running("loss")

    @property
    def provider(self) -> str:
        """Short name of the preferred provider that runs, such as "cpu" or "cuda"."""
        return short_name(self.providers[0])

    def with_batch_size(self, batch_size: int) -> VAERuntime:
        """The same bundle in the same sessions, run in chunks of another size.

        Args:
            batch_size: samples in one run of a graph, 1 or more.

        Raises:
            OptionError: it is less.
        """
        check_counts(batch_size=batch_size)
        other = copy.copy(self)
        other._batch_size = batch_size
        return other

    def encode(self, x: ArrayLike) -> Encoding:
        """Encodes samples.

        Args:
            x: samples, shape `(batch, *input_shape)`, uint8 or float in the model's range (uint8
                only, where the manifest's `input.dtype` says so), not standardised; the channel
                axis may be left out where there is one channel.

        Returns:
            Means and log variances, each of shape `(batch, latent_dim)`.

        Raises:
            InputError: wrong shape or dtype, not finite, out of range, or so large that a result
                is not finite.
            ProviderError, BundleError: the graph does not start; see `load`.
        """
        samples = as_batch(x, self.manifest.input.shape)
        outputs = self._run_chunks("encoder", len(samples), self._samples_feed(samples))
        return Encoding(outputs["z_mean"], outputs["z_log_var"])

    def decode(self, z: ArrayLike) -> Float32:
        """Decodes latent vectors.

        Args:
            z: latent vectors, shape `(batch, latent_dim)`.

        Returns:
            Reconstructions, shape `(batch, *input_shape)`: probabilities for bce, else values.

        Raises:
            InputError: wrong shape or dtype, not finite, or so large that the result is not.
            ProviderError, BundleError: the graph does not start; see `load`.
        """
        count, latents = self._latents_feed(z, "z")
        return self._run_chunks("decoder", count, lambda part: {"z": latents(part)})[
            "reconstruction"
        ]

    def reconstruct(self, x: ArrayLike) -> Float32:
        """Encodes samples and decodes their means (`eps` = 0).

        Args:
            x: samples, as for `encode`.

        Returns:
            Reconstructions, shape `(batch, *input_shape)`.

        Raises:
            InputError: as for `encode`.
        """
        return self.decode(self.encode(x).z_mean)

    def loss(self, x: ArrayLike, eps: ArrayLike | None = None) -> Losses[Float32]:
        """The loss of each sample, in its parts.

        Args:
            x: samples, as for `encode`.
            eps: noise, shape `(batch, latent_dim)`; zeros where it is left out, which gives the
                deterministic z = z_mean. Draw it from N(0, I) for the loss as in training.

        Returns:
            Three arrays of shape `(batch,)`; `.mean()` gives the loss of the data set.

        Raises:
            InputError: wrong shape or dtype, not finite, out of range, or so large that a result
                is not finite.
            ProviderError, BundleError: the graph does not start; see `load`.
        """
        samples = as_batch(x, self.manifest.input.shape)
        rows, noise = (len(samples), None) if eps is None else self._latents_feed(eps, "eps")
        if rows != len(samples):
            raise InputError(
                f"eps has {rows} rows, x has {len(samples)} samples: give one row a sample"
            )
        feed_samples = self._samples_feed(samples)

        def feed(part: slice) -> dict[str, Array]:
            inputs = feed_samples(part)
            shape = (len(inputs["x"]), self.manifest.latent_dim)
            inputs["eps"] = np.zeros(shape, np.float32) if noise is None else noise(part)
            return inputs

        return Losses(**self._run_chunks("loss", len(samples), feed))

    def sample(self, count: int, *, seed: int = 0) -> Float32:
        """Decodes draws from the prior N(0, I).

        Args:
            count: how many.
            seed: of the draws; the same seed and NumPy give the same z on every machine.

        Returns:
            Samples, shape `(count, *input_shape)`.

        Raises:
            OptionError: `count` or `seed` is negative.
            ProviderError, BundleError: the graph does not start; see `load`.
        """
        if count < 0 or seed < 0:
            raise OptionError(f"count {count} and seed {seed} must be 0 or more")
        z = np.random.default_rng(seed).standard_normal((count, self.manifest.latent_dim))
        return self.decode(z.astype(np.float32))

    def interpolate(self, first: ArrayLike, last: ArrayLike, steps: int = 10) -> Float32:
        """Decodes the straight line between the codes of two samples.

        Args:
            first: one sample, shape `input_shape`.
            last: another.
            steps: number of points on the line, both ends included.

        Returns:
            Samples, shape `(steps, *input_shape)`.

        Raises:
            InputError: as for `encode`.
            OptionError: fewer than two steps.
        """
        if steps < 2:
            raise OptionError(f"steps is {steps}, expected 2 or more: both ends are included")
        pair: list[Any] = [first, last]
        ends = np.concatenate([self.encode([x]).z_mean for x in pair])
        weight = np.linspace(0, 1, steps, dtype=np.float32)[:, np.newaxis]
        return self.decode((1 - weight) * ends[0] + weight * ends[1])

    def verify(
        self, reference: dict[str, Float32] | None = None, *, source: str | None = None
    ) -> VerifyReport:
        """Compares every tensor and every loss with TensorFlow's values.

        The graphs under test are those of the loaded precision, held to its own tolerances; the
        bundle's files are all checked.

        Args:
            reference: values to hold against, as `read_reference` gives them; those in the
                bundle where it is left out.
            source: where they come from, for the report.

        Returns:
            The differences, and whether all are within the manifest's tolerances.

        Raises:
            BundleError: the bundle's files are not those that the manifest lists.
        """
        self.bundle.check_files()
        return verify_runtime(self, reference or read_reference(self.bundle), source)

    def run(self, graph: str, inputs: dict[str, Any]) -> dict[str, Any]:
        """Runs one graph as it is, in one call: all of its outputs, by name.

        Values are not checked, neither those that go in nor those that come out.

        Args:
            graph: `encoder`, `decoder` or `loss`.
            inputs: arrays by name, dtypes and shapes as in the manifest: NumPy's, or
                `onnxruntime.OrtValue`s, which stay on their device and are not copied.

        Returns:
            float32 arrays by name, NumPy's or `OrtValue`s, as the inputs are; these on the device
            of the first input.

        Raises:
            OptionError: there is no such graph.
            InputError: some inputs are NumPy's and some are not.
            ProviderError, BundleError: the graph does not start, or fails; see `load`.
        """
        return self._sessions.run(graph, inputs)

    def _samples_feed(self, samples: NDArray[np.generic]) -> Callable[[slice], dict[str, Array]]:
        def feed(part: slice) -> dict[str, Array]:
            spec = self.manifest.input
            return {"x": to_input(samples[part], spec.dtype, spec.range, first=part.start)}

        return feed

    def _latents_feed(self, z: ArrayLike, name: str) -> tuple[int, Callable[[slice], Float32]]:
        rows = as_batch(z, (self.manifest.latent_dim,), name=name)

        def feed(part: slice) -> Float32:
            array = to_float32(rows[part])
            check_values(array, None, what=f"{name} row", first=part.start)
            return np.ascontiguousarray(array)

        return len(rows), feed

    def _run_chunks(
        self, graph: str, count: int, feed: Callable[[slice], dict[str, Array]]
    ) -> dict[str, Float32]:
        sessions = self._sessions
        in_parts = sessions.in_parts(graph, count)
        if 0 < count <= self._batch_size and not in_parts:
            whole = self.run(graph, feed(slice(0, count)))
            for name, value in whole.items():
                _require_finite(name, value, 0)
            return whole
        spec = getattr(self.manifest.graphs, graph)
        outputs = {
            tensor.name: np.empty((count, *tensor.shape[1:]), np.float32) for tensor in spec.outputs
        }

        def keep(part: slice, values: dict[str, Float32]) -> None:
            for name, value in values.items():
                _require_finite(name, value, part.start)
                outputs[name][part] = value

        if in_parts:
            sessions.team.run(
                lambda part: keep(part, sessions.run(graph, feed(part), threads=1)),
                Parts(count, self._batch_size, sessions.team.size),
            )
        else:
            for part in _chunks(count, self._batch_size):
                keep(part, self.run(graph, feed(part)))
        return outputs


def _require_finite(name: str, value: Float32, first: int) -> None:
    """Refuses to hand on what overflowed: a score of NaN compares as neither high nor low."""
    if value.size <= FEW:
        if all(map(math.isfinite, value.ravel().tolist())):
            return
    elif np.logical_and.reduce(np.isfinite(value), None):
        return
    finite = np.isfinite(value).reshape(len(value), -1).all(axis=1)
    raise InputError(
        f"{name} of sample {first + int(finite.argmin())} is not finite: its values are too large "
        "for this model; scale them as in training"
    )


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
