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
from numpy.typing import ArrayLike

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest
from vae_runtime.data.samples.inputs import as_batch
from vae_runtime.decision.calibration import Calibration, read_calibration
from vae_runtime.decision.scorer import read_scorer
from vae_runtime.decision.scores import Scores
from vae_runtime.errors import OptionError
from vae_runtime.explanation.explanation import Explanation
from vae_runtime.inference.chunks import Chunks, Float32, latent_chunk, strictly
from vae_runtime.inference.explaining import Explainer, read_explainer
from vae_runtime.inference.inputs import GraphInputs
from vae_runtime.inference.memory import memory_errors
from vae_runtime.inference.per_sample import PerSample
from vae_runtime.inference.providers import short_name
from vae_runtime.inference.sessions import Sessions
from vae_runtime.inference.tuning import check_positive
from vae_runtime.loss import Losses
from vae_runtime.prior.draws import Prior, draw_latents
from vae_runtime.prior.mixture import read_mixture
from vae_runtime.proof.parity import Decision, VerifyReport, verify_runtime
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
        self._inputs = GraphInputs(bundle.manifest)
        self._chunks = Chunks(sessions, bundle.manifest.graphs, batch_size)
        self._calibration: Calibration | None = None
        self._explainer: Explainer | None = None

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
        samples = self._inputs.samples(x)
        given = self._inputs.given(condition, len(samples))
        outputs = self._chunks.run(
            "encoder",
            len(samples),
            strictly(lambda part: {"x": self._inputs.chunk(samples, part), **given(part)}),
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
        given = self._inputs.given(condition, len(rows))
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
        unscorable = None if strict else self.per_sample.unscorable()
        losses = self.per_sample.losses(x, eps, condition, unscorable, on_progress)
        if unscorable:
            unscorable.warn(len(losses.loss))
        return losses

    def score(
        self,
        x: ArrayLike,
        *,
        condition: ArrayLike | None = None,
        strict: bool = True,
        on_progress: Callable[[int], None] | None = None,
    ) -> Scores:
        """Compute the anomaly score of each sample and its p-value, at z = z_mean.

        A variant with dynamic ranges runs one sample at a time, so that no sample changes the
        score of another.

        Args:
            x: samples, as for `encode`.
            condition: as for `encode`.
            strict: as for `loss`. With False, a sample that cannot be scored has the smallest
                p-value.
            on_progress: as for `loss`.

        Returns:
            Five arrays of shape `(batch,)`; `.alarms(alpha)` says which samples are unusual.

        Raises:
            OptionError: the bundle has no score.
            InputError, ProviderError, BundleError: as for `encode`. A `BundleError` is also raised
                if the calibration does not belong to the graph.
        """
        unscorable = None if strict else self.per_sample.unscorable()
        scores = self.per_sample.scores(x, condition, self.calibration, unscorable, on_progress)
        if unscorable:
            unscorable.warn(len(scores))
        return scores

    def explain(self, x: ArrayLike, *, condition: ArrayLike | None = None) -> Explanation:
        """Explain why samples are as unusual as they are, at z = z_mean.

        Of a table's row every column is repaired by itself, to see which one is to blame: one row
        takes as long as scoring a few hundred. Explain those that matter, such as the alarms.

        Args:
            x: samples, as for `encode`.
            condition: as for `encode`.

        Returns:
            The scores; what each element and each part of the score adds; the nearest training
            sample.

        Raises:
            OptionError: the bundle has no score.
            InputError, ProviderError, BundleError: as for `score`. A sample that cannot be scored
                cannot be explained.
        """
        if self._explainer is None:
            self._explainer = read_explainer(self.bundle, self.calibration)
        return self._explainer.explain(self.per_sample, x, condition)

    def element_terms(self, x: ArrayLike, *, condition: ArrayLike | None = None) -> Float32:
        """Return what each element of each sample adds to the score.

        `explain` says more of a few samples; this is for many.

        Args:
            x: samples, as for `encode`.
            condition: as for `encode`.

        Returns:
            Terms, shape `(batch, *input_shape)`, see `vae_runtime.decision.elements`. They are NaN
            for a sample that cannot be scored.

        Raises:
            InputError: x or the condition have a wrong shape or dtype.
            ProviderError, BundleError: as for `encode`.
        """
        return self.per_sample.element_terms_or_nan(x, condition)

    @property
    def calibration(self) -> Calibration:
        """The calibration of the loaded precision: its scores, and the threshold of each alpha.

        An `OptionError` says that the bundle has no score, a `BundleError` that the calibration was
        edited or belongs to another graph.
        """
        if self._calibration is None:
            self._calibration = read_calibration(self.bundle, self.precision)
        return self._calibration

    @property
    def per_sample(self) -> PerSample:
        """What computes losses and scores, for samples that are a part of a larger whole."""
        per_sample = PerSample(self.manifest, self._inputs, self._chunks)
        variant = self.manifest.variants.get(self.precision)
        is_dynamic = variant is not None and variant.method == "dynamic"
        return per_sample.one_by_one() if is_dynamic else per_sample

    def sample(
        self,
        count: int,
        *,
        seed: int = 0,
        prior: Prior = "normal",
        condition: ArrayLike | None = None,
    ) -> Float32:
        """Decode draws from the prior.

        Args:
            count: number of samples.
            seed: seed of the draws. The same seed and NumPy give the same z on every machine.
            prior: `normal` for N(0, I); `mixture` for the Gaussian mixture that
                `build-vae fit-prior` has added to the bundle.
            condition: as for `encode`.

        Returns:
            Samples, shape `(count, *input_shape)`.

        Raises:
            OptionError: `count` or `seed` is negative, or the bundle does not have this prior.
            InputError: the condition, as for `encode`.
            ProviderError, BundleError: the graph does not start; see `load`.
        """
        if count < 0 or seed < 0:
            raise OptionError(f"count {count} and seed {seed} must be 0 or more")
        z = draw_latents(self.bundle, count, seed, prior)
        return self.decode(z, condition=condition)

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
            scorer = read_scorer(self.bundle)
            decision = Decision(scorer, self.calibration) if scorer else None
            values = reference or read_reference(self.bundle)
            mixture = read_mixture(self.bundle) if self.manifest.prior else None
            return verify_runtime(self, values, source, decision=decision, mixture=mixture)

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
