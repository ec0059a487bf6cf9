"""Scale of an encoder's second output s, and what its name says about it.

    scale      s is                      standard deviation of z   z_log_var
    log_var    log variance              exp(s / 2)                s
    log_std    log standard deviation    exp(s)                    2 * s
    std        standard deviation        |s|                       2 * log |s|
    var        variance                  sqrt(s)                   log s

A standard deviation enters z and the KL loss only by its square, so its sign does not matter. In
the graph |s| is at least 1e-18 and a variance at least 1e-36: the logarithm stays finite, and no
value becomes denormal.
"""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

import numpy as np
from keras import ops
from numpy.typing import NDArray

from vae_runtime.errors import OptionError

Scale = Literal["log_var", "log_std", "std", "var"]
Kind = Literal["mean"] | Scale

SCALES: tuple[Scale, ...] = get_args(Scale)

DESCRIPTIONS: dict[Scale, str] = {
    "log_var": "log variance",
    "log_std": "logarithm of a standard deviation",
    "std": "standard deviation",
    "var": "variance",
}
"""What each scale is, in words."""

MIN_STD = 1e-18
"""Smallest standard deviation in a graph; its square is still a normal float32."""

NAMES: dict[Kind, str] = {
    "mean": "mean means mu loc location",
    "log_var": "logvar logvariance lnvar logsigma2 logsigmasq logsigmasquared logs2 logsigmasqr",
    "log_std": "logstd logstddev logstdev logsigma lnsigma logscale logsd logstandarddeviation",
    "std": "std stds stddev stdev sigma sigmas sd standarddeviation scale",
    "var": "var vars variance variances sigma2 sigmasq sigmasquared sigmasqr",
}
"""Usual names of the two outputs, without what separates words."""

KINDS: dict[str, Kind] = {name: kind for kind, names in NAMES.items() for name in names.split()}
WORDS_AFTER = frozenset(("dense", "layer", "head", "output", "out", "linear", "conv", "fc"))
"""Words after a name that say nothing about its meaning."""


def check_scale(scale: str | None) -> None:
    """Raise `OptionError` unless `scale` is None or one of `SCALES`."""
    if scale is not None and scale not in SCALES:
        raise OptionError(f"scale is {scale!r}, expected one of {', '.join(SCALES)}")


def kind_of_name(name: str) -> Kind | None:
    """Return what a layer's name or an output's key says that its values are.

    The longest known ending counts: `enc_z_log_var_1` is log_var, not var.

    >>> kind_of_name("enc_z_log_var_1"), kind_of_name("logSigma"), kind_of_name("dense_3")
    ('log_var', 'log_std', None)
    """
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+2?(?![a-z])|[A-Z]+(?![a-z])", name)]
    while words and words[-1] in WORDS_AFTER:
        words.pop()
    endings = ("".join(words[start:]) for start in range(len(words)))
    return next((KINDS[e] for end in endings for e in (end, end[1:]) if e in KINDS), None)


def to_log_var(s: Any, scale: Scale) -> Any:
    """Return the tensor z_log_var of the tensor s."""
    if scale == "log_std":
        return 2.0 * s
    if scale == "std":
        return 2.0 * ops.log(ops.maximum(ops.absolute(s), MIN_STD))
    if scale == "var":
        return ops.log(ops.maximum(s, MIN_STD**2))
    return s


def log_std(s: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
    """Return the logarithm of the standard deviation of z, NaN where s has none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale == "log_var":
            return s / 2
        if scale == "log_std":
            return s
        return np.log(np.abs(s)) if scale == "std" else np.log(s) / 2
