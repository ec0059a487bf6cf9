"""The section of the model card on the anomaly score: what it is, and its thresholds."""

from __future__ import annotations

import re

from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.scores import CalibrationSpec, LevelSpec, ScoreSpec

HEADING = "## Anomaly score"

PART = "softplus(2 (log(part) - mean) / std)^2 / 8"
"""How a part counts in a sum, as `vae_runtime.decision.score` defines it."""

MEANINGS = {
    "loss": "the loss of the sample",
    "excess_loss": "the loss of the sample, less the smallest reconstruction loss that any decoder "
    "could give for it",
    "squared_error": "the squared error of the reconstruction, summed over the elements",
    "novelty": "how far the encoder's hidden activations are from those of training samples",
}
"""What each score is, in words, and each part of `combined`. All are computed at z = z_mean."""


def score_section(manifest: Manifest) -> str:
    """Return the section as Markdown, from its heading to a line break; empty without a score."""
    if (spec := manifest.score) is None:
        return ""
    lines = [f"{HEADING}\n", *_meaning(spec), *_p_value(spec), *_calibrations(manifest, spec)]
    return "\n".join(lines).rstrip() + "\n"


def with_score_section(card: str, manifest: Manifest) -> str:
    """Return a card with this section in place of the old one; unchanged if there is none."""
    section = score_section(manifest).rstrip()
    old = re.compile(rf"^{HEADING}\n.*?(\n*)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    return old.sub(lambda found: section + found[1], card)


def calibration_table(manifest: Manifest) -> str:
    """Return the thresholds of each precision as aligned text; empty without a score."""
    if (spec := manifest.score) is None:
        return ""
    tables = (_table(spec, *calibration) for calibration in spec.calibrations.items())
    return "\n".join(line for table in tables for line in table)


def threshold_text(level: LevelSpec) -> str:
    """Return which scores are alarms, such as `above 5.2` or `below 0.3 or above 7`."""
    above = f"above {level.upper:.6g}"
    return above if level.lower is None else f"below {level.lower:.6g} or {above}"


def rate_text(rate: float | None) -> str:
    """Return a rate as a percentage, or `-` if it was not measured."""
    return "-" if rate is None else f"{100 * rate:.3g} %"


def bounds_text(level: LevelSpec) -> str:
    """Return the bounds of a false-alarm rate as percentages."""
    return " to ".join(rate_text(rate) for rate in level.rate)


def source_text(spec: ScoreSpec, calibration: CalibrationSpec) -> str:
    """Return what a calibration was made from, and checked on."""
    checked = f", checked on {calibration.checked:,} others" if calibration.checked else ""
    one = "sample" if calibration.samples == 1 else "samples"
    return f"{calibration.samples:,} {one} ({spec.data}){checked}"


def _meaning(spec: ScoreSpec) -> list[str]:
    summed = [MEANINGS[name] for name in (*spec.parts, "novelty") if name in MEANINGS]
    meaning = MEANINGS.get(spec.name, "; and ".join(summed))
    lines = [
        f"`{spec.name}` is a number for each sample; larger is more unusual. It is {meaning}. All "
        "is computed at z = z_mean.\n"
    ]
    if spec.novelty:
        layers = ", ".join(f"`{a.layer}` ({a.size}, {a.axes})" for a in spec.novelty.activations)
        scaled = ", scaled to length 1" if spec.novelty.unit_length else ""
        lines.append(
            "The distance of activations is the squared Mahalanobis distance from a Gaussian "
            f"that was fitted to {spec.novelty.training_samples:,} training samples. Layers, with "
            f"their values and principal axes: {layers}{scaled}.\n"
        )
    if spec.parts:
        parts = ", ".join(f"`{name}`" for name in spec.parts)
        held_out = f"{spec.part_samples:,} held-out samples of their own"
        lines.append(
            f"Each part ({parts}) counts as `{PART}`; these are added up. `mean` and `std` come "
            f"from {held_out if spec.part_samples else 'training samples'}.\n"
        )
    return lines


def _p_value(spec: ScoreSpec) -> list[str]:
    text = {
        "upper": "`p_value` is `(1 + number of calibration scores >= score) / (n + 1)`",
        "both": "`p_value` is twice the smaller one of `(1 + number of calibration scores >= "
        "score) / (n + 1)` and the same with `<=`, and at most 1: low scores are unusual too",
    }[spec.tails]
    return [
        f"{text}. It is about the share of normal samples that are at least as unusual. A new "
        "normal sample has a p-value of at most alpha with a probability of at most alpha, if it "
        "comes from where the calibration samples come from.\n"
    ]


def _calibrations(manifest: Manifest, spec: ScoreSpec) -> list[str]:
    lines = []
    for precision, calibration in spec.calibrations.items():
        of = f" of {precision}" if len(manifest.precisions) > 1 else ""
        lines += [
            f"Calibration{of}: {source_text(spec, calibration)}. "
            f"The smallest p-value is {calibration.smallest_p_value:.3g}.\n",
        ]
        if not calibration.levels:
            continue
        lines += [
            "| alpha | alarm if the score is | rate that 95 % of such calibrations have | rate "
            "found on the others |",
            "|---|---|---|---|",
            *(
                f"| {level.alpha:g} | {threshold_text(level)} | {bounds_text(level)} | "
                f"{rate_text(level.found)} |"
                for level in calibration.levels
            ),
            "",
        ]
    return lines


def _table(spec: ScoreSpec, precision: str, calibration: CalibrationSpec) -> list[str]:
    rows = [
        (f"{v.alpha:g}", threshold_text(v), bounds_text(v), rate_text(v.found))
        for v in calibration.levels
    ]
    names = ("alpha", "alarm if the score is", "rate of 95 % of calibrations", "rate found")
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    return [
        f"{precision}, score {spec.name}: {source_text(spec, calibration)}, smallest p-value "
        f"{calibration.smallest_p_value:.3g}",
        *(
            "  ".join(map(str.ljust, row, widths)).rstrip()
            for row in ((names, *rows) if rows else ())
        ),
    ]
