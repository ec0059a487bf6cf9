"""Losses and scores of samples: a number for each, also for samples that cannot be scored."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.manifest import loss_input
from vae_runtime.bundle.scores import P_VALUE, SCORE
from vae_runtime.data.numbers.standardization import standardize
from vae_runtime.data.samples.inputs import as_batch, to_scaled_float32
from vae_runtime.decision.calibration import Calibration
from vae_runtime.decision.elements import element_terms
from vae_runtime.decision.scores import Scores
from vae_runtime.errors import InputError
from vae_runtime.inference.chunks import Array, Chunks, Compute, Float32, latent_chunk, strictly
from vae_runtime.inference.inputs import GraphInputs
from vae_runtime.inference.unscorable import Run, Unscorable
from vae_runtime.loss import LOSS_NAMES, Losses

TERMS_CHUNK = 256
"""Samples whose terms are computed at a time, in float64."""

OnProgress = Callable[[int], None] | None


@dataclass(frozen=True, eq=False)
class Reconstructed:
    """Samples that were encoded and decoded, at z = z_mean.

    Attributes:
        reconstruction: shape `(batch, *input_shape)`, float32, in the units of the samples.
        terms: what each element adds to the score, same shape, float64.
    """

    reconstruction: Float32
    terms: NDArray[np.float64]


@dataclass(frozen=True)
class PerSample:
    """Computes losses and scores of samples that may be a part of a larger whole.

    In both methods, `first` is the number of `x[0]` in the whole, for messages, and `unscorable`
    keeps the samples that cannot be scored, whose losses are infinite. It is None to raise an
    `InputError` for them. `VAERuntime.loss` explains the other arguments and the errors.
    """

    manifest: Manifest
    inputs: GraphInputs
    chunks: Chunks

    def unscorable(self) -> Unscorable:
        """Return a new list of samples that cannot be scored."""
        return Unscorable(self.manifest.input.range, self.manifest.sources)

    def losses(
        self,
        x: ArrayLike,
        eps: ArrayLike | None,
        condition: ArrayLike | None,
        unscorable: Unscorable | None,
        on_progress: OnProgress = None,
        *,
        first: int = 0,
    ) -> Losses[Float32]:
        """Compute losses, by the loss graph; `eps` None stands for zeros, which is z = z_mean."""
        z_shape = self.manifest.z_shape
        samples = self.inputs.samples(x)
        noise = None if eps is None else as_batch(eps, z_shape, name="eps")
        if noise is not None and len(noise) != len(samples):
            raise InputError(
                f"eps has {len(noise)} rows, x has {len(samples)} samples: give one row for each "
                "sample"
            )
        given = self.inputs.given(condition, len(samples))

        def inputs(part: slice) -> dict[str, Array]:
            chunk = self.inputs.chunk(samples, part, first=first, check=unscorable is None)
            if noise is None:
                rows = np.zeros((len(chunk), *z_shape), np.float32)
            else:
                rows = latent_chunk(noise, part, "eps")
            return {"x": chunk, "eps": rows, **given(part)}

        compute = _compute(inputs, unscorable, first)
        return Losses(**self.chunks.run("loss", len(samples), compute, on_progress))

    def scores(
        self,
        x: ArrayLike,
        condition: ArrayLike | None,
        calibration: Calibration,
        unscorable: Unscorable | None,
        on_progress: OnProgress = None,
        *,
        first: int = 0,
    ) -> Scores:
        """Compute scores, by the score graph.

        A sample that cannot be scored has the smallest p-value.
        """
        samples = self.inputs.samples(x)
        given = self.inputs.given(condition, len(samples))

        def inputs(part: slice) -> dict[str, Array]:
            chunk = self.inputs.chunk(samples, part, first=first, check=unscorable is None)
            return {"x": chunk, **given(part)}

        compute = _compute(inputs, unscorable, first)
        names = (*LOSS_NAMES, SCORE, P_VALUE)
        outputs = self.chunks.run(SCORE, len(samples), compute, on_progress, outputs=names)
        p_value = outputs[P_VALUE]
        outputs[P_VALUE] = np.where(
            np.isfinite(p_value), p_value, np.float32(calibration.smallest_p_value)
        )
        return Scores(**outputs)

    def score_alone(self, x: ArrayLike, condition: ArrayLike | None) -> Float32:
        """Compute the score without its p-value, shape `(batch,)`; for a calibration."""
        samples = self.inputs.samples(x)
        given = self.inputs.given(condition, len(samples))
        compute = strictly(lambda part: {"x": self.inputs.chunk(samples, part), **given(part)})
        return self.chunks.run(SCORE, len(samples), compute, outputs=(SCORE,))[SCORE]

    def element_terms(self, x: ArrayLike, condition: ArrayLike | None) -> NDArray[np.float64]:
        """Return what each element adds to the score, see `vae_runtime.decision.elements`."""
        samples = self.inputs.samples(x)
        values = self.inputs.chunk(samples, slice(0, len(samples)))
        return self.reconstructed(values, self.inputs.rows(condition, len(samples))).terms

    def element_terms_or_nan(self, x: ArrayLike, condition: ArrayLike | None) -> Float32:
        """Return what each element adds to the score, in float32; NaN if a sample has no score."""
        samples = self.inputs.samples(x)
        rows = self.inputs.rows(condition, len(samples))
        terms = np.full(samples.shape, np.nan, np.float32)

        def compute(part: slice) -> None:
            values = self.inputs.chunk(samples, part)
            given = {name: own[part] for name, own in rows.items()}
            terms[part] = self.reconstructed(values, given).terms

        for start in range(0, len(samples), TERMS_CHUNK):
            stop = min(start + TERMS_CHUNK, len(samples))
            try:
                compute(slice(start, stop))
            except InputError:
                for i in range(start, stop):
                    with contextlib.suppress(InputError):
                        compute(slice(i, i + 1))
        return terms

    def reconstructed(self, values: Array, given: dict[str, Float32]) -> Reconstructed:
        """Encode samples and decode their means.

        Args:
            values: samples as the graphs take them, shape `(batch, *input_shape)`.
            given: the input `condition`, a row for each sample; empty without a condition.
        """
        m = self.manifest
        inputs = {"x": values, **given}
        encode = strictly(lambda part: {name: rows[part] for name, rows in inputs.items()})
        z_mean = self.chunks.run("encoder", len(values), encode)["z_mean"]
        outputs = self.decoded(z_mean, given)
        x = standardize(np, m.input.standardization, to_scaled_float32(values))
        name = m.score.name if m.score else "loss"
        terms = element_terms(name, m.loss, x, loss_input(m.input, m.loss, outputs))
        return Reconstructed(outputs["reconstruction"], terms)

    def decoded(self, z: Float32, given: dict[str, Float32]) -> dict[str, Float32]:
        """Return all outputs of the decoder for z, shape `(batch, *latent_shape)`."""
        inputs = {"z": z, **given}
        decode = strictly(lambda part: {name: rows[part] for name, rows in inputs.items()})
        return self.chunks.run("decoder", len(z), decode)

    def one_by_one(self) -> PerSample:
        """Return the same with one sample in each run."""
        return replace(self, chunks=replace(self.chunks, batch_size=1))


def _compute(
    inputs: Callable[[slice], dict[str, Array]], unscorable: Unscorable | None, first: int
) -> Compute:
    if unscorable is None:
        return strictly(inputs, first)

    def compute(part: slice, run: Run) -> dict[str, Float32]:
        return unscorable.losses(inputs(part), first + part.start, run)

    return compute
