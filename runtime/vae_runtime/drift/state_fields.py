"""The state of a drift monitor as strict JSON, bound to one bundle, precision and calibration.

Arrays are base64 of little-endian numbers. `sha256` is the digest of the text with an empty
`sha256`, so that a damaged or edited state is noticed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.scalars import Digest
from vae_runtime.drift.detector import DriftState
from vae_runtime.drift.martingale import BETS, Martingale
from vae_runtime.drift.report import BINS
from vae_runtime.files import strict_json
from vae_runtime.files.strict_json import StrictJsonError, meta

FORMAT = 1

Count = Annotated[int, meta(ge=0)]


@dataclass(frozen=True)
class Owner:
    """What a state belongs to, and the promise of its alarm.

    Attributes:
        bundle: SHA-256 of the bundle.
        precision: precision of the graphs.
        calibration: SHA-256 of the calibration scores: sorted, float64, little-endian.
        delta: largest share of streams without drift that ever raise an alarm.
        seed: seed of the noise.
    """

    bundle: Digest
    precision: str
    calibration: Digest
    delta: Annotated[float, meta(ge=0, le=1)]
    seed: Count


@dataclass(frozen=True)
class StateFields:
    """The fields of a state file; those of `DriftState`, with arrays as text."""

    format: Annotated[int, meta(ge=FORMAT, le=FORMAT)]
    owner: Owner
    samples: Count
    unscorable: Count
    alarm_at: Count | None
    since: Count
    log_capital: float
    shares: tuple[float, ...]
    log_maximum: Annotated[float, meta(ge=0)]
    log_minimum: Annotated[float, meta(le=0)]
    histogram: tuple[Count, ...]
    recent_histogram: tuple[Count, ...]
    stream: str
    element_samples: Count
    element_sums: str | None
    sha256: str


def calibration_sha256(scores: NDArray[np.float64]) -> str:
    """Return the digest of calibration scores in any order."""
    return hashlib.sha256(np.sort(scores).astype("<f8").tobytes()).hexdigest()


def state_bytes(state: DriftState, owner: Owner) -> bytes:
    """Return a state as the text of a state file."""
    sums = state.element_sums
    fields = StateFields(
        format=FORMAT,
        owner=owner,
        samples=state.samples,
        unscorable=state.unscorable,
        alarm_at=state.alarm_at,
        since=state.since,
        log_capital=state.martingale.log_capital,
        shares=state.martingale.shares,
        log_maximum=state.log_maximum,
        log_minimum=state.log_minimum,
        histogram=state.histogram,
        recent_histogram=state.recent_histogram,
        stream=_text(state.stream.astype("<i8")),
        element_samples=state.element_samples,
        element_sums=None if sums is None else _text(sums.astype("<f8")),
        sha256="",
    )
    return strict_json.encode(replace(fields, sha256=_digest(fields)))


def parse_state(data: bytes) -> StateFields:
    """Check the text of a state file: its form, its digest, and that its counts fit together.

    Raises:
        StrictJsonError: what is wrong.
    """
    fields = strict_json.parse(StateFields, strict_json.decode(data))
    if fields.sha256 != _digest(replace(fields, sha256="")):
        raise StrictJsonError("its sha256 is not that of its contents")
    samples = fields.samples
    faults = {
        "histogram": sum(fields.histogram) != samples or len(fields.histogram) != BINS,
        "recent_histogram": sum(fields.recent_histogram) != samples - fields.since
        or len(fields.recent_histogram) != BINS,
        "shares": len(fields.shares) != BETS
        or min(fields.shares) < 0
        or not 0.999 < sum(fields.shares) < 1.001,
        "alarm_at": fields.alarm_at is not None and not fields.since <= fields.alarm_at < samples,
        "unscorable": fields.unscorable > samples,
        "element_samples": fields.element_samples > samples - fields.since,
    }
    if wrong := [name for name, is_wrong in faults.items() if is_wrong]:
        raise StrictJsonError(f"{', '.join(wrong)} cannot be those of {samples} samples")
    return fields


def to_state(fields: StateFields, new: DriftState) -> DriftState:
    """Return the state that parsed fields describe.

    Args:
        fields: from `parse_state`.
        new: a state without samples of the same detector, which has the shapes of the arrays.

    Raises:
        StrictJsonError: an array does not have that shape, or not the values that it can have.
    """
    stream = _array(fields.stream, "<i8", new.stream.shape, "stream")
    if stream.min() < 0 or stream.sum() != fields.samples:
        raise StrictJsonError(f"stream does not count {fields.samples} samples")
    sums = new.element_sums
    if (sums is None) != (fields.element_sums is None):
        has = "has no" if fields.element_sums is None else "has"
        raise StrictJsonError(f"{has} element_sums, this monitor is used the other way")
    if sums is not None and fields.element_sums is not None:
        sums = _array(fields.element_sums, "<f8", sums.shape, "element_sums")
        if not np.isfinite(sums).all():
            raise StrictJsonError("element_sums has values that are not finite")
    return DriftState(
        stream=stream.astype(np.int64),
        unscorable=fields.unscorable,
        martingale=Martingale(fields.samples, fields.log_capital, fields.shares),
        log_maximum=fields.log_maximum,
        log_minimum=fields.log_minimum,
        since=fields.since,
        alarm_at=fields.alarm_at,
        histogram=fields.histogram,
        recent_histogram=fields.recent_histogram,
        element_sums=None if sums is None else sums.astype(np.float64),
        element_samples=fields.element_samples,
    )


def _digest(fields: StateFields) -> str:
    return hashlib.sha256(strict_json.encode(fields)).hexdigest()


def _text(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _array(text: str, dtype: str, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise StrictJsonError(f"{name} is not base64") from None
    expected = np.dtype(dtype).itemsize * int(np.prod(shape))
    if len(data) != expected:
        raise StrictJsonError(f"{name} has {len(data)} bytes, expected {expected}")
    return np.frombuffer(data, dtype).reshape(shape)
