"""A source of Parquet files in folders, as a cluster scores it, and what its rows should score."""

import pytest

from cluster_sources import InProcess, random_images, write_images
from vae_runtime import load
from vae_runtime.inference.tuning import default_batch_size

FILES = {"year=2024/a.parquet": 700, "year=2024/b.parquet": 300, "year=2025/a.parquet": 513}


@pytest.fixture(scope="session")
def pixels():
    """Samples of each file of the source, by path."""
    return {name: random_images(n, n) for name, n in FILES.items()}


@pytest.fixture(scope="session")
def source(pixels, tmp_path_factory):
    """A folder of three files in two partitions; row groups of 256 rows."""
    folder, first = tmp_path_factory.mktemp("source"), 0
    for name, x in pixels.items():
        write_images(folder / name, x, range(first, first + len(x)), row_group_size=256)
        first += len(x)
    (folder / "_SUCCESS").touch()
    return folder


@pytest.fixture
def in_process(monkeypatch):
    """Score in this process whatever the engine, which is faster than to start one."""
    monkeypatch.setattr("vae_runtime.cluster.run._start", lambda engine, task: InProcess(task))


@pytest.fixture(scope="session")
def score_alone(exported):
    """Return a function that scores an array in this process, in the chunks of a cluster."""
    size = default_batch_size((8, 8, 1))

    def score(x):
        return vars(load(exported(), threads=1, batch_size=size, tuned=False).score(x))

    return score
