"""The processors that this process may really use: how many, and of what kind.

A container or a service is often held to a share of the machine's processors: by an affinity mask,
or by a quota of its control group (`docker run --cpus 1.5`). A pool with a thread for each
processor of the machine would then be stopped again and again in the midst of an operator.

The quota is that of Linux's control groups: `cpu.max` (version 2), or `cpu.cfs_quota_us` over
`cpu.cfs_period_us` (version 1), the smallest of the process's own group and of all groups above it.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

_NAMES = ("model name", "Hardware", "Model", "cpu model", "CPU part")
"""Keys of /proc/cpuinfo that tell processors apart, on x86, ARM, POWER and MIPS."""


def usable_processors(root: Path = Path("/")) -> int:
    """How many processors this process may use.

    Args:
        root: the file system that holds `proc` and `sys`.

    Returns:
        The processors of its affinity mask, or its control groups' quota, rounded up, where that
        is less; at least 1.
    """
    quotas = (math.ceil(quota) for quota in _quotas(root))
    return max(1, min([reachable_processors(), *quotas]))


def reachable_processors() -> int:
    """How many processors this process may run on, whatever share of them it may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name(root: Path = Path("/")) -> str:
    """What kind of processor this is, as the system calls it; at least its architecture.

    Args:
        root: the file system that holds `proc`.
    """
    try:
        with (root / "proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            first = file.read(4096)  # one processor's part: a server has hundreds of them
    except OSError:
        first = ""
    pairs = (line.partition(":") for line in reversed(first.splitlines()))  # the first one stays
    values = {key.strip(): value.strip() for key, _, value in pairs}
    known = (values[name] for name in _NAMES if values.get(name))
    return next(known, os.environ.get("PROCESSOR_IDENTIFIER") or platform.machine())


def _quotas(root: Path) -> Iterator[float]:
    """The quotas of this process's control groups and of those above, in processors."""
    for hierarchy, group in _groups(root):
        for folder in (group, *group.parents):
            if quota := _quota(hierarchy / folder):
                yield quota


def _groups(root: Path) -> Iterator[tuple[Path, Path]]:
    """Folder of each hierarchy that may hold a quota, and this process's group in it."""
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
            yield mounted, group
        elif "cpu" in controllers.split(","):
            yield mounted / "cpu", group  # a link where several controllers share a hierarchy


def _quota(folder: Path) -> float | None:
    """The quota that a group states itself, in processors."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8")
                for name in ("quota", "period")
            )
        share = int(quota) / int(period)  # "max" is no number: no quota
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return share if share > 0 else None  # -1 is version 1's word for no quota
