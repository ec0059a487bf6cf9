"""Number and kind of the processors that this process may use.

A container or a service often gets only a part of the machine's processors: by an affinity mask, or
by a quota of its control group (`docker run --cpus 1.5`). With one thread for each processor of the
machine, the system would stop these threads again and again in the middle of an operator.

The quota comes from Linux's control groups: `cpu.max` (version 2), or `cpu.cfs_quota_us` divided by
`cpu.cfs_period_us` (version 1). The smallest quota of the process's group and its ancestors counts.
`os.process_cpu_count` (Python 3.13) knows the affinity mask, but not these quotas.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

_CPUINFO_KEYS = ("model name", "Hardware", "Model", "cpu model", "CPU part")
"""Keys of /proc/cpuinfo that identify a processor, on x86, ARM, POWER and MIPS."""


def usable_processors(root: Path = Path("/")) -> int:
    """Return how many processors this process may use, at least 1.

    This is the size of the affinity mask, or the control groups' quota, rounded up, if it is less.
    `root` is the file system that holds `proc` and `sys`.
    """
    quotas = (math.ceil(quota) for quota in _quotas(root))
    return max(1, min([reachable_processors(), *quotas]))


def reachable_processors() -> int:
    """Return how many processors this process may run on, regardless of quotas."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name(root: Path = Path("/")) -> str:
    """Return the system's name for the processor, or the architecture if it has no name."""
    try:
        with (root / "proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            text = file.read(4096)  # the first processor is enough: a server has hundreds of them
    except OSError:
        text = ""
    # Reversed, because the last duplicate wins in a dict and the first processor should.
    pairs = (line.partition(":") for line in reversed(text.splitlines()))
    values = {key.strip(): value.strip() for key, _, value in pairs}
    names = (values[key] for key in _CPUINFO_KEYS if values.get(key))
    return next(names, os.environ.get("PROCESSOR_IDENTIFIER") or platform.machine())


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quotas, in processors, of this process's control groups and their ancestors."""
    mounted = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        group = Path(path.lstrip("/"))
        if ".." in group.parts:  # above what this container sees
            group = Path()
        if not controllers:
            hierarchy = mounted
        elif "cpu" in controllers.split(","):
            hierarchy = mounted / "cpu"  # a link, if several controllers share a hierarchy
        else:
            continue
        for folder in (group, *group.parents):
            if quota := _quota(hierarchy / folder):
                yield quota


def _quota(folder: Path) -> float | None:
    """Return the quota that a group itself sets, in processors, or None if it sets none."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8")
                for name in ("quota", "period")
            )
        processors = int(quota) / int(period)  # "max" is not a number and means no quota
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return processors if processors > 0 else None  # -1 means no quota in version 1
