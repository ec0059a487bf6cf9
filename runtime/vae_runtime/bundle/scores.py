"""What the manifest says of the anomaly score: its definition, and its calibration.

A score is a number for each sample; larger is more unusual. A calibration turns it into a p-value,
see `vae_runtime.decision.conformal`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

from vae_runtime.bundle.scalars import Digest, Rate, RelativePath, Size, Text
from vae_runtime.files.strict_json import meta

ScoreName = Literal["loss", "excess_loss", "squared_error", "novelty", "combined"]
SCORE_NAMES: Final[tuple[ScoreName, ...]] = get_args(ScoreName)
Tails = Literal["upper", "both"]

SCORE: Final = "score"
"""Name of the graph, and of the output that holds the score."""
P_VALUE: Final = "p_value"
ACTIVATIONS: Final = "activations"
"""Name of the output that novelty is computed from, if it is used."""


def combined_part(reconstruction: str) -> Literal["squared_error", "excess_loss"]:
    """Return the part of `combined` that the decoder gives; `reconstruction` is that of `LossSpec`.

    The squared error of probabilities ranks better than their excess loss. For values of any range
    it is the other way round.
    """
    return "squared_error" if reconstruction == "bce" else "excess_loss"


def fit_part(name: ScoreName, reconstruction: str) -> str | None:
    """Return the name of the part of a score that the decoder gives; None for `novelty`."""
    if name == "combined":
        return combined_part(reconstruction)
    return None if name == "novelty" else name


@dataclass(frozen=True)
class ActivationSpec:
    """Hidden activations of the encoder, and how many principal axes describe them."""

    layer: Annotated[Text, meta("the layer that they come from")]
    size: Annotated[Size, meta("number of values")]
    axes: Annotated[Size, meta("number of principal axes of the training samples")]


@dataclass(frozen=True)
class NoveltySpec:
    """How novelty is computed."""

    activations: Annotated[
        tuple[ActivationSpec, ...], meta("the encoder's hidden activations, in order")
    ]
    unit_length: Annotated[bool, meta("each of them is scaled to length 1 first")]
    training_samples: Annotated[Size, meta("number of training samples that were used")]
    prototypes: Annotated[Size, meta("number of training samples kept to be shown")]
    file: Annotated[RelativePath, meta("npz with center and axes of each, and the prototypes")]

    @property
    def size(self) -> int:
        """Number of values of all activations together."""
        return sum(activation.size for activation in self.activations)


@dataclass(frozen=True)
class PartSpec:
    """Mean and standard deviation of a part's logarithm, over held-out samples of its own."""

    mean: Annotated[float, meta("mean of the logarithm")]
    std: Annotated[float, meta("standard deviation of the logarithm", ge=1e-6)]


@dataclass(frozen=True)
class LevelSpec:
    """One false-alarm rate, and the threshold that promises it."""

    alpha: Annotated[float, meta("largest rate of false alarms", ge=0, le=1)]
    upper: Annotated[float, meta("a score above this is an alarm")]
    lower: Annotated[float | None, meta("a score below this is an alarm too; null: one tail")]
    rate: Annotated[
        tuple[Rate, Rate], meta("95 % of calibrations with so many samples have a rate in between")
    ]
    found: Annotated[
        Rate | None, meta("rate among held-out samples of their own; null: not measured")
    ]


@dataclass(frozen=True)
class CalibrationSpec:
    """The calibration of one precision."""

    samples: Annotated[Size, meta("number n of calibration samples")]
    smallest_p_value: Annotated[Rate, meta("smallest p-value that n samples allow")]
    graph_sha256: Annotated[
        Digest, meta("digest of the score graph without its p-value, which gave the scores")
    ]
    checked: Annotated[
        int, meta("number of held-out samples that the found rates come from", ge=0, le=2**31)
    ]
    levels: Annotated[tuple[LevelSpec, ...], meta("those that n samples allow")]


@dataclass(frozen=True)
class ScoreSpec:
    """The anomaly score, and its calibrations."""

    name: Annotated[ScoreName, meta("what the score is")]
    novelty: Annotated[NoveltySpec | None, meta("null: the score does not use novelty")]
    parts: Annotated[
        dict[Text, PartSpec],
        meta("what is added up, in order; empty if the score is a loss or an error itself"),
    ]
    part_samples: Annotated[
        int,
        meta(
            "number of held-out samples that `parts` come from; 0: training samples", ge=0, le=2**31
        ),
    ]
    tolerance: Annotated[
        float,
        meta(
            "allowed difference from TensorFlow's, relative to 1 + the score's size", ge=0, le=1e-2
        ),
    ]
    tails: Annotated[Tails, meta("upper: high scores are unusual; both: low ones as well")]
    data: Annotated[Text, meta("where the calibration samples come from")]
    data_sha256: Annotated[Digest, meta("digest of the calibration samples: dtype, shape, bytes")]
    file: Annotated[RelativePath, meta("npz with the sorted scores of each precision, and spreads")]
    calibrations: Annotated[dict[Text, CalibrationSpec], meta("by precision")]

    @property
    def files(self) -> tuple[str, ...]:
        """The files that belong to the score, beside its graphs."""
        return (self.file, self.novelty.file) if self.novelty else (self.file,)

    @property
    def novelty_parts(self) -> tuple[str, ...]:
        """Names of the parts that are distances of activations."""
        count = len(self.novelty.activations) if self.novelty else 0
        return tuple(f"novelty_{i}" for i in range(1, count + 1))

    def faults(self) -> Iterator[str]:
        """Yield a description of each contradiction between two fields."""
        needs_novelty = self.name in ("novelty", "combined")
        if needs_novelty != (self.novelty is not None):
            yield f"score.novelty does not fit the score {self.name}"
        if tuple(self.parts)[self.name == "combined" :] != self.novelty_parts:
            yield f"score.parts are {', '.join(self.parts)} for the score {self.name}"
        for precision, calibration in self.calibrations.items():
            for level in calibration.levels:
                if (level.lower is None) != (self.tails == "upper"):
                    yield f"score.calibrations.{precision} does not fit tails {self.tails}"
