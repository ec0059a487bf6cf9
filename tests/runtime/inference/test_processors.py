"""The number of usable processors, with faked control groups."""

import os

import pytest

from vae_runtime.inference import processors
from vae_runtime.inference.processors import processor_name, usable_processors


@pytest.fixture
def eight_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def write_files(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/cpu"
IN_V1 = "9:name=systemd:/\n4:cpuacct,cpu:/docker/ab\n"


@pytest.mark.usefixtures("eight_processors")
@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "3200000 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/a/b\n", f"{V2}/a/b/cpu.max": "300000 100000\n"}, 3),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                f"{V2}/a/cpu.max": "200000 100000\n",
                f"{V2}/a/b/cpu.max": "max 100000\n",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": "0::/../x\n",
                f"{V2}/cpu.max": "400000 100000\n",
                "sys/fs/x/cpu.max": "100000 100000\n",  # outside the mounted hierarchy
            },
            4,
        ),
        ({"proc/self/cgroup": "0::/other\n", f"{V2}/a/cpu.max": "100000 100000\n"}, 8),
        (
            {
                "proc/self/cgroup": IN_V1,
                f"{V1}/docker/ab/cpu.cfs_quota_us": "250000\n",
                f"{V1}/docker/ab/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (  # a container sees its group as the root
            {
                "proc/self/cgroup": IN_V1,
                f"{V1}/cpu.cfs_quota_us": "100000\n",
                f"{V1}/cpu.cfs_period_us": "50000\n",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": IN_V1,
                f"{V1}/cpu.cfs_quota_us": "-1\n",
                f"{V1}/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
        ({"proc/self/cgroup": "junk", f"{V2}/cpu.max": "100000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "junk\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "100000 0\n"}, 8),
    ],
    ids=range(16),
)
def test_the_quota_of_control_groups_is_rounded_up(tmp_path, files, count):
    write_files(tmp_path, files)
    assert usable_processors(tmp_path) == count


def test_the_affinity_mask_is_respected(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)
    assert usable_processors(tmp_path) == 3
    write_files(tmp_path, {"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "700000 100000\n"})
    assert usable_processors(tmp_path) == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_processors(tmp_path) == 1


def test_this_machine_has_at_least_one():
    assert 1 <= usable_processors() <= os.cpu_count()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "processor\t: 0\nmodel name\t: Fast CPU @ 2: x\n\nmodel name : Other\n",
            "Fast CPU @ 2: x",
        ),
        ("processor : 0\nCPU part : 0xd08\n\nModel : Raspberry Pi 4\n", "Raspberry Pi 4"),
        ("CPU part : 0xd08\n", "0xd08"),
        ("model name :\n", "arch"),
        (None, "arch"),
    ],
)
def test_the_name_of_the_processor(tmp_path, monkeypatch, text, name):
    monkeypatch.setattr(processors.platform, "machine", lambda: "arch")
    monkeypatch.delenv("PROCESSOR_IDENTIFIER", raising=False)
    if text is not None:
        write_files(tmp_path, {"proc/cpuinfo": text})
    assert processor_name(tmp_path).startswith(name)
