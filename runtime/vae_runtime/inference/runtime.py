"""The light runtime: a loaded bundle that encodes, decodes, scores and verifies itself.

```python
import vae_runtime

vae = vae_runtime.load("digits-vae")
scores = vae.loss(images).loss      # nats per image, shape (batch,)
print(vae.verify())                 # the table of differences from TensorFlow
```

Inputs and outputs are NumPy arrays. Batches of any size run in chunks, so the memory in use stays
bounded. Several threads may share one object.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest
from vae_runtime.data.inputs import as_batch, check_values, to_float32, to_graph_input
from vae_runtime.errors import InputError, OptionError
from vae_runtime.inference.parallel import split_batch
from vae_runtime.inference.providers import short_name
from vae_runtime.inference.sessions import Sessions
from vae_runtime.inference.tuning import check_positive
from vae_runtime.loss import Losses
from vae_runtime.proof.parity import VerifyReport, verify_runtime
from vae_runtime.proof.reference import read_reference

Float32 = NDArray[np.float32]
Array = NDArray[Any]

PYTHON_LOOP_MAX = 16
"""Up to this many values, a Python loop checks an array faster than NumPy."""


@dataclass(frozen=True)
class Encoding:
    """Output of the encoder: q(z|x) = N(z_mean, exp(z_log_var)) for each sample.

    Attributes:
        z_mean: means, shape `(batch, latent_dim)`.
        z_log_var: logarithms of the variances, shape `(batch, latent_dim)`.
    """

    z_mean: Float32
    z_log_var: Float32


class VAERuntime:
    """A loaded bundle, as `load` returns it.

    Attributes:
        bundle: the files and the manifest.
        precision: precision of the graphs: `float32`, or one of the manifest's variants.
    """

    def __init__(self, bundle: Bundle, precision: str, sessions: Sessions, batch_size: int) -> None:
        self.bundle = bundle
        self.precision = precision
        self._sessions = sessions
        self._batch_size = batch_size

    def __repr__(self) -> str:
        m = self.manifest
        return (
            f"<VAERuntime {m.name!r}: {m.input.shape} -> {m.latent_dim}, {m.loss.reconstruction}, "
            f"{self.precision} on {', '.join(map(short_name, self._sessions.providers))}>"
        )

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    @property
    def providers(self) -> list[str]:
        """ONNX Runtime's names of the providers that run the loss graph, in order of preference."""
        return self._sessions.running_providers("loss")

    @property
    def provider(self) -> str:
        """Short name of the preferred provider that runs, such as "cpu" or "cuda"."""
        return short_name(self.providers[0])

    def with_batch_size(self, batch_size: int) -> VAERuntime:
        """Return a runtime that shares this one's sessions and runs chunks of another size.

        Args:
            batch_size: maximum number of samples in one run of a graph, 1 or more.

        Returns:
            The new runtime; this one is unchanged.

        Raises:
            OptionError: `batch_size` is less than 1.
        """
        check_positive(batch_size=batch_size)
        other = copy.copy(self)
        other._batch_size = batch_size
        return other

    def encode(self, x: ArrayLike) -> Encoding:
        """Encode samples.

        Args:
            x: samples, shape `(batch, *input_shape)`: uint8, or float in the model's range, not
                standardized. If the manifest's `input.dtype` is uint8, only uint8 is accepted. You
                may omit the channel axis of a model with one channel.

        Returns:
            Means and log variances, each of shape `(batch, latent_dim)`.

        Raises:
            InputError: the shape or dtype is wrong, a value is not finite or out of range, or
                values are so large that a result is not finite.
            ProviderError, BundleError: the graph does not start; see `load`.
        """
        samples = as_batch(x, self.manifest.input.shape)
        outputs = self._run_chunks(
            "encoder", len(samples), lambda part: {"x": self._x_chunk(samples, part)}
        )
        return Encoding(outputs["z_mean"], outputs["z_log_var"])

    def decode(self, z: ArrayLike) -> Float32:
        """Decode latent vectors.

        Args:
            z: latent vectors, shape `(batch, latent_dim)`.

        Returns:
            Reconstructions, shape `(batch, *input_shape)`: probabilities for bce, else values.

        Raises:
            InputError, ProviderError, BundleError: as for `encode`.
        """
        rows = as_batch(z, (self.manifest.latent_dim,), name="z")
        outputs = self._run_chunks(
            "decoder", len(rows), lambda part: {"z": _latent_chunk(rows, part, "z")}
        )
        return outputs["reconstruction"]

    def reconstruct(self, x: ArrayLike) -> Float32:
        """Encode samples and decode their means (`eps` = 0).

        Args:
            x: samples, as for `encode`.

        Returns:
            Reconstructions, shape `(batch, *input_shape)`.

        Raises:
            InputError, ProviderError, BundleError: as for `encode`.
        """
        return self.decode(self.encode(x).z_mean)

    def loss(
        self,
        x: ArrayLike,
        eps: ArrayLike | None = None,
        *,
        on_progress: Callable[[int], None] | None = None,
    ) -> Losses[Float32]:
        """Compute the loss of each sample and its two terms.

        Args:
            x: samples, as for `encode`.
            eps: noise, shape `(batch, latent_dim)`. Draw it from N(0, I) for the loss as in
                training. If it is None, zeros are used: the deterministic z = z_mean.
            on_progress: called after each chunk with its number of samples, never concurrently.

        Returns:
            Three arrays of shape `(batch,)`; `.mean()` gives the loss of the data set.

        Raises:
            InputError, ProviderError, BundleError: as for `encode`.
        """
        samples = as_batch(x, self.manifest.input.shape)
        latent_dim = self.manifest.latent_dim
        noise = None if eps is None else as_batch(eps, (latent_dim,), name="eps")
        if noise is not None and len(noise) != len(samples):
            raise InputError(
                f"eps has {len(noise)} rows, x has {len(samples)} samples: give one row for each "
                "sample"
            )

        def inputs(part: slice) -> dict[str, Array]:
            chunk = self._x_chunk(samples, part)
            if noise is None:
                return {"x": chunk, "eps": np.zeros((len(chunk), latent_dim), np.float32)}
            return {"x": chunk, "eps": _latent_chunk(noise, part, "eps")}

        return Losses(**self._run_chunks("loss", len(samples), inputs, on_progress))

    def sample(self, count: int, *, seed: int = 0) -> Float32:
        """Decode draws from the prior N(0, I).

        Args:
            count: number of samples.
            seed: seed of the draws. The same seed and NumPy give the same z on every machine.

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
        """Decode points on the straight line between the means of two samples.

        Args:
            first: one sample, shape `input_shape`.
            last: the other sample, shape `input_shape`.
            steps: number of points on the line, both ends included.

        Returns:
            Samples, shape `(steps, *input_shape)`.

        Raises:
            InputError, ProviderError, BundleError: as for `encode`.
            OptionError: `steps` is less than 2.
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
        """Compare every tensor and every loss with TensorFlow's values.

        The check runs the graphs of the loaded precision, with the tolerances of that precision. It
        also checks all files of the bundle.

        Args:
            reference: TensorFlow's values, as `read_reference` returns them; by default the values
                in the bundle.
            source: where the values come from, for the report.

        Returns:
            The differences, and whether all are within the manifest's tolerances.

        Raises:
            BundleError: the bundle's files are not those that the manifest lists.
            ProviderError: a graph does not start; see `load`.
        """
        self.bundle.check_files()
        return verify_runtime(self, reference or read_reference(self.bundle), source)

    def run(self, graph: str, inputs: dict[str, Any]) -> dict[str, Any]:
        """Run one graph in one call, and return all of its outputs by name.

        The values of inputs and outputs are not checked.

        Args:
            graph: `encoder`, `decoder` or `loss`.
            inputs: arrays by name, with dtypes and shapes as in the manifest: NumPy arrays, or
                `onnxruntime.OrtValue`s, which stay on their device and are not copied.

        Returns:
            float32 arrays by name: NumPy arrays or `OrtValue`s, like the inputs. `OrtValue`s are
            on the device of the first input.

        Raises:
            OptionError: there is no such graph.
            InputError: some inputs are NumPy arrays and some are `OrtValue`s.
            ProviderError, BundleError: the graph does not start, or fails; see `load`.
        """
        return self._sessions.run(graph, inputs)

    def _x_chunk(self, samples: NDArray[np.generic], part: slice) -> Array:
        spec = self.manifest.input
        return to_graph_input(samples[part], spec.dtype, spec.range, first=part.start)

    def _run_chunks(
        self,
        graph: str,
        count: int,
        inputs: Callable[[slice], dict[str, Array]],
        on_progress: Callable[[int], None] | None = None,
    ) -> dict[str, Float32]:
        """Run a graph on `count` samples; `inputs` makes the inputs of a slice of them."""
        sessions = self._sessions
        split = sessions.should_split(graph, count)
        if 0 < count <= self._batch_size and not split:
            whole = self.run(graph, inputs(slice(0, count)))
            for name, value in whole.items():
                _require_finite(name, value, 0)
            if on_progress:
                on_progress(count)
            return whole
        spec = getattr(self.manifest.graphs, graph)
        outputs = {
            tensor.name: np.empty((count, *tensor.shape[1:]), np.float32) for tensor in spec.outputs
        }
        lock = threading.Lock()

        def keep(part: slice, values: dict[str, Float32]) -> None:
            for name, value in values.items():
                _require_finite(name, value, part.start)
                outputs[name][part] = value
            if on_progress:
                with lock:
                    on_progress(min(part.stop, count) - part.start)

        if split:
            sessions.thread_pool.run(
                lambda part: keep(part, sessions.run(graph, inputs(part), threads=1)),
                split_batch(count, self._batch_size, sessions.thread_pool.size),
            )
        else:
            for start in range(0, count, self._batch_size):
                part = slice(start, start + self._batch_size)
                keep(part, self.run(graph, inputs(part)))
        return outputs


def _latent_chunk(rows: NDArray[np.generic], part: slice, name: str) -> Float32:
    chunk = to_float32(rows[part])
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
