"""The light runtime: a loaded bundle that encodes, decodes, scores and verifies itself.

```python
import vae_runtime

vae = vae_runtime.load("digits-vae")
scores = vae.loss(images).loss      # nats per image, shape (batch,)
print(vae.verify())                 # the table of differences from TensorFlow
```

Inputs and outputs are NumPy arrays. Batches of any size run in chunks, so the memory in use stays
bounded. Several threads may share one object. Copies share its sessions. A pickle holds the path of
the bundle, its digest and the options, and loads it again where it arrives.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest
from vae_runtime.data.numbers.rounding import rounded_columns, warn_of_rounding
from vae_runtime.data.samples.conditions import as_condition
from vae_runtime.data.samples.inputs import as_batch, to_graph_input
from vae_runtime.errors import InputError, OptionError
from vae_runtime.inference.chunks import Array, Chunks, Float32, latent_chunk, strictly
from vae_runtime.inference.memory import memory_errors
from vae_runtime.inference.providers import short_name
from vae_runtime.inference.sessions import Sessions
from vae_runtime.inference.tuning import check_positive
from vae_runtime.inference.unscorable import Run, Unscorable
from vae_runtime.loss import Losses
from vae_runtime.proof.parity import VerifyReport, verify_runtime
from vae_runtime.proof.reference import read_reference


@dataclass(frozen=True)
class Encoding:
    """Output of the encoder: q(z|x) = N(z_mean, exp(z_log_var)) for each sample.

    Attributes:
        z_mean: means, shape `(batch, latent_dim)`, or `(batch, *latent_shape)` if the manifest has
            one.
        z_log_var: logarithms of the variances, same shape.
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
        self._chunks = Chunks(sessions, bundle.manifest.graphs, batch_size)

    def __repr__(self) -> str:
        m, providers = self.manifest, ", ".join(map(short_name, self._chunks.sessions.providers))
        return (
            f"<VAERuntime {m.name!r}: {m.input.shape} -> {m.latent_shape or m.latent_dim}, "
            f"{m.loss.reconstruction}, {self.precision} on {providers}>"
        )

    def __copy__(self) -> VAERuntime:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> VAERuntime:
        return copy.copy(self)  # nothing in it changes, and sessions may be shared

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    @property
    def providers(self) -> list[str]:
        """ONNX Runtime's names of the providers that run the loss graph, in order of preference."""
        return self._chunks.sessions.running_providers("loss")

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
        other._chunks = replace(self._chunks, batch_size=batch_size)
        return other

    def encode(self, x: ArrayLike, *, condition: ArrayLike | None = None) -> Encoding:
        """Encode samples.

        Args:
            x: samples, shape `(batch, *input_shape)`: uint8, or float in the model's range, not
                standardized. If the manifest's `input.dtype` is uint8, only uint8 is accepted. You
                may omit the channel axis of a model with one channel. If the manifest has
                `data.columns`, a data frame (pandas, polars, pyarrow) gives these columns by name,
                in any order; its other columns are ignored. With `data.table` it gives the columns
                of the table, which are encoded; an array holds the encoded elements.
            condition: condition of a conditional model: one for all samples, a label or an array of
                the manifest's `condition.shape`, or one for each sample.

        Returns:
            Means and log variances, each of shape `(batch, latent_dim)`, or
            `(batch, *latent_shape)` if the manifest has one.

        Raises:
            InputError: the shape or dtype is wrong, a column is missing, a value is masked, not
                finite or out of range, or values are so large that a result is not finite. The
                condition is missing, has a label that the model does not know, or the model takes
                none.
            ProviderError, BundleError: the graph does not start; see `load`.
        """
        samples = self._as_samples(x)
        given = self._given(condition, len(samples))
        outputs = self._chunks.run(
            "encoder",
            len(samples),
            strictly(lambda part: {"x": self._x_chunk(samples, part), **given(part)}),
        )
        return Encoding(outputs["z_mean"], outputs["z_log_var"])

    def decode(self, z: ArrayLike, *, condition: ArrayLike | None = None) -> Float32:
        """Decode latent samples.

        Args:
            z: latent samples, shape as of `Encoding.z_mean`.
            condition: as for `encode`.

        Returns:
            Reconstructions, shape `(batch, *input_shape)`: probabilities for bce, else values.

        Raises:
            InputError, ProviderError, BundleError: as for `encode`.
        """
        rows = as_batch(z, self.manifest.z_shape, name="z")
        given = self._given(condition, len(rows))
        outputs = self._chunks.run(
            "decoder",
            len(rows),
            strictly(lambda part: {"z": latent_chunk(rows, part, "z"), **given(part)}),
        )
        return outputs["reconstruction"]

    def reconstruct(self, x: ArrayLike, *, condition: ArrayLike | None = None) -> Float32:
        """Encode samples and decode their means (`eps` = 0).

        Args:
            x: samples, as for `encode`.
            condition: as for `encode`.

        Returns:
            Reconstructions, shape `(batch, *input_shape)`.

        Raises:
            InputError, ProviderError, BundleError: as for `encode`.
        """
        return self.decode(self.encode(x, condition=condition).z_mean, condition=condition)

    def loss(
        self,
        x: ArrayLike,
        eps: ArrayLike | None = None,
        *,
        condition: ArrayLike | None = None,
        strict: bool = True,
        on_progress: Callable[[int], None] | None = None,
    ) -> Losses[Float32]:
        """Compute the loss of each sample and its two terms.

        No loss is ever NaN, which would compare as neither high nor low.

        Args:
            x: samples, as for `encode`.
            eps: noise, shape as of `Encoding.z_mean`. Draw it from N(0, I) for the loss as in
                training. If it is None, zeros are used: the deterministic z = z_mean.
            condition: as for `encode`.
            strict: raise an `InputError` if a sample cannot be scored, because its values are not
                finite, out of range or too large for the model. With False its loss and both terms
                are infinite, an `InputWarning` names it, and the others are scored. Use False in a
                detector, where that sample is the finding. Wrong shapes and dtypes always raise.
            on_progress: called after each chunk with its number of samples, never concurrently.

        Returns:
            Three arrays of shape `(batch,)`; `.mean()` gives the loss of the data set.

        Raises:
            InputError, ProviderError, BundleError: as for `encode`.
        """
        samples = self._as_samples(x)
        z_shape = self.manifest.z_shape
        noise = None if eps is None else as_batch(eps, z_shape, name="eps")
        if noise is not None and len(noise) != len(samples):
            raise InputError(
                f"eps has {len(noise)} rows, x has {len(samples)} samples: give one row for each "
                "sample"
            )

        given = self._given(condition, len(samples))
        unscorable = None if strict else self.unscorable()
        losses = self._losses(samples, noise, given, unscorable, on_progress)
        if unscorable:
            unscorable.warn(len(samples))
        return losses

    def unscorable(self) -> Unscorable:
        """Return a new list of samples that cannot be scored, for `loss_of_part`."""
        return Unscorable(self.manifest.input.range, self.manifest.sources)

    def loss_of_part(
        self,
        x: ArrayLike,
        first: int,
        unscorable: Unscorable | None,
        *,
        condition: ArrayLike | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> Losses[Float32]:
        """Compute `loss` for some samples of a larger whole, at z = z_mean.

        Args:
            x: samples, as for `encode`.
            first: number of `x[0]` in the whole, for messages.
            unscorable: keeps the samples that cannot be scored, whose losses are infinite; None to
                raise an `InputError` for them.
            condition: condition of each sample, as for `encode`.
            on_progress: as for `loss`.

        Returns:
            Three arrays of shape `(batch,)`.

        Raises:
            InputError, ProviderError, BundleError: as for `loss`.
        """
        samples = self._as_samples(x)
        given = self._given(condition, len(samples))
        return self._losses(samples, None, given, unscorable, on_progress, first)

    def _losses(
        self,
        samples: NDArray[np.generic],
        noise: NDArray[np.generic] | None,
        given: Callable[[slice], dict[str, Float32]],
        unscorable: Unscorable | None,
        on_progress: Callable[[int], None] | None,
        first: int = 0,
    ) -> Losses[Float32]:
        def inputs(part: slice) -> dict[str, Array]:
            chunk = self._x_chunk(samples, part, first=first, check=unscorable is None)
            if noise is None:
                eps = np.zeros((len(chunk), *self.manifest.z_shape), np.float32)
            else:
                eps = latent_chunk(noise, part, "eps")
            return {"x": chunk, "eps": eps, **given(part)}

        def compute(part: slice, run: Run) -> dict[str, Float32]:
            assert unscorable is not None
            return unscorable.losses(inputs(part), first + part.start, run)

        strict = strictly(inputs, first)
        chosen = strict if unscorable is None else compute
        return Losses(**self._chunks.run("loss", len(samples), chosen, on_progress))

    def sample(self, count: int, *, seed: int = 0, condition: ArrayLike | None = None) -> Float32:
        """Decode draws from the prior N(0, I).

        Args:
            count: number of samples.
            seed: seed of the draws. The same seed and NumPy give the same z on every machine.
            condition: as for `encode`.

        Returns:
            Samples, shape `(count, *input_shape)`.

        Raises:
            OptionError: `count` or `seed` is negative.
            InputError: the condition, as for `encode`.
            ProviderError, BundleError: the graph does not start; see `load`.
        """
        if count < 0 or seed < 0:
            raise OptionError(f"count {count} and seed {seed} must be 0 or more")
        z = np.random.default_rng(seed).standard_normal((count, *self.manifest.z_shape))
        return self.decode(z.astype(np.float32), condition=condition)

    def interpolate(
        self,
        first: ArrayLike,
        last: ArrayLike,
        steps: int = 10,
        *,
        condition: ArrayLike | None = None,
    ) -> Float32:
        """Decode points on the straight line between the means of two samples.

        Args:
            first: one sample, shape `input_shape`.
            last: the other sample, shape `input_shape`.
            steps: number of points on the line, both ends included.
            condition: one condition for both samples and all points, as for `encode`.

        Returns:
            Samples, shape `(steps, *input_shape)`.

        Raises:
            InputError, ProviderError, BundleError: as for `encode`.
            OptionError: `steps` is less than 2.
        """
        if steps < 2:
            raise OptionError(f"steps is {steps}, expected 2 or more: both ends are included")
        pair: list[Any] = [first, last]
        ends = np.concatenate([self.encode([x], condition=condition).z_mean for x in pair])
        weight = np.linspace(0, 1, steps, dtype=np.float32)
        weight = weight.reshape(-1, *(1,) * len(self.manifest.z_shape))
        return self.decode((1 - weight) * ends[0] + weight * ends[1], condition=condition)

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
            ProviderError: a graph does not start (see `load`), or memory ran out.
        """
        with memory_errors(f"verifying {self.bundle.path}"):
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
        return self._chunks.sessions.run(graph, inputs)

    def _given(
        self, condition: ArrayLike | None, count: int
    ) -> Callable[[slice], dict[str, Float32]]:
        """Return a function from a slice of the samples to the graphs' input `condition`."""
        rows = as_condition(self.manifest.condition, condition, count)
        return lambda part: {} if rows is None else {"condition": rows[part]}

    def _as_samples(self, x: ArrayLike) -> NDArray[np.generic]:
        return as_batch(x, self.manifest.input.shape, columns=self.manifest.table)

    def _x_chunk(
        self, samples: NDArray[np.generic], part: slice, *, first: int = 0, check: bool = True
    ) -> Array:
        spec, data = self.manifest.input, self.manifest.data
        chunk, columns = samples[part], self.manifest.columns
        if chunk.dtype != np.float32:
            warn_of_rounding(rounded_columns(chunk), columns, what="x")
        return to_graph_input(
            chunk,
            spec.dtype,
            spec.range,
            first=first + part.start,
            binary_uint8=bool(data and data.binary_uint8),
            raw_range=spec.raw_range,
            is_table=self.manifest.table is not None,
            check=check,
            columns=self.manifest.sources,
        )
