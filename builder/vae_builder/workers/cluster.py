"""`Cluster`: the workers of a training run, as `TF_CONFIG` names them.

```json
{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}
```

Every launcher can set this variable. A task of type `chief` counts as the first worker. Worker 0 is
the chief: it alone writes the run folder.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from vae_runtime.errors import OptionError

VARIABLE = "TF_CONFIG"
"""Environment variable that says who the workers are, and which one this process is."""

EXAMPLE = (
    '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True)
class Cluster:
    """The workers of a training run.

    Attributes:
        addresses: `host:port` of each worker.
        index: number of this worker.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the run folder."""
        return self.index == 0

    def name(self, index: int) -> str:
        """Return the name of a worker for people, such as "worker 1 (host1:2222)"."""
        return f"worker {index} ({self.addresses[index]})"

    def host_and_port(self, index: int) -> tuple[str, int]:
        """Return host and port of a worker."""
        host, _, port = self.addresses[index].rpartition(":")
        return host.strip("[]"), int(port)


def cluster_from_environment() -> Cluster | None:
    """Return the workers that `TF_CONFIG` names; None if it is not set or names only one.

    Raises:
        OptionError: the variable is not as in the example, or names other tasks than workers.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        content = json.loads(text)
        tasks, task = content.get("cluster") or {}, content.get("task") or {}
        addresses = [*map(str, [*tasks.get("chief", []), *tasks.get("worker", [])])]
        for address in addresses:
            host, _, port = address.rpartition(":")
            if not host or not 0 < int(port) < 65536:
                raise ValueError(f"{address!r} is not host:port")
        kind, index = task.get("type", "worker"), int(task.get("index", 0))
    except (ValueError, TypeError, AttributeError) as error:
        raise _unusable(f"cannot be read ({' '.join(str(error).split())[:100]})") from None
    if not tasks:
        return None
    return _checked(tasks, addresses, kind, index)


def _checked(tasks: dict[str, Any], addresses: list[str], kind: str, index: int) -> Cluster | None:
    if others := [*({*tasks} - {"chief", "worker"})]:
        raise _unusable(f"names tasks of type {others[0]!r}, expected worker, or chief and worker")
    if len(set(addresses)) != len(addresses):
        raise _unusable("names one address twice")
    if kind not in tasks or not 0 <= index < len(tasks[kind]):
        raise _unusable(f"says that this is task {index} of type {kind!r}, which it does not name")
    if kind == "worker":
        index += len(tasks.get("chief", []))
    return Cluster(tuple(addresses), index) if len(addresses) > 1 else None


def _unusable(reason: str) -> OptionError:
    return OptionError(f"{VARIABLE} {reason}: set it as in {EXAMPLE}, or unset it for one worker")
