"""What all workers must have the same: versions, command, options and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vae_builder.workers.cluster import Cluster
from vae_runtime.errors import BuildVaeError, InputError, OptionError


def require_same(cluster: Cluster, messages: list[Any], topic: str) -> None:
    """Check that all workers gave the same values for a topic.

    Args:
        cluster: the workers.
        messages: the message of each worker, of `Meeting.exchange`.
        topic: a key of the messages, and of `REMEDIES`. Its value is a value, or names with values.

    Raises:
        OptionError, InputError: names the first worker that differs from worker 0, and the value.
            All workers raise the same.
    """
    first = _flat(messages[0][topic])
    for index, message in enumerate(messages):
        other = _flat(message[topic])
        for name in first | other:
            if first.get(name) != other.get(name):
                error, what, remedy = REMEDIES[topic]
                raise error(
                    f"{cluster.name(index)} has {what}{name} {_text(other.get(name))}, worker 0 "
                    f"has {_text(first.get(name))}: {remedy}"
                )


REMEDIES: dict[str, tuple[Callable[[str], BuildVaeError], str, str]] = {
    "versions": (OptionError, "", "install the same versions on all workers"),
    "command": (OptionError, "", "give all workers the same command"),
    "options": (OptionError, "option ", "give all workers the same options"),
    "data": (InputError, "other data: ", "give all workers the same data"),
}
"""For each topic the class of the error, what differs, and what to do."""


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return nested names with values as one dict, such as {"loss.kl_weight": 1.0}."""
    if not isinstance(value, Mapping):
        return {name: value}
    return {
        key: leaf
        for part, inner in value.items()
        for key, leaf in _flat(inner, f"{name}.{part}" if name else str(part)).items()
    }


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:12]}..."
