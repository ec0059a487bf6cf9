"""Sources that are scored in parts, and what is in their folders of results."""

from pathlib import Path

import numpy as np

from vae_runtime.cluster.engines.protocol import Outcome
from vae_runtime.cluster.worker import Worker

FAULTS = Path(__file__).parent / "worker_faults"


class InProcess:
    """An engine that is a worker in this process, for tests of what all engines have in common."""

    capacity = 1

    def __init__(self, task):
        self.worker = Worker(task.job, task.bundle, strict=task.strict)

    def submit(self, part):
        self.part = part

    def result(self, timeout):
        return Outcome(self.part, self.worker.score(self.part))

    def close(self):
        pass


def write_images(path, x, ids=None, **options):
    """Write pictures as a Parquet file with the columns id, name and image."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = range(len(x)) if ids is None else ids
    path.parent.mkdir(parents=True, exist_ok=True)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x[0].size)
    table = pa.table({"id": ids, "name": [f"n{i}" for i in ids], "image": lists})
    pq.write_table(table, path, **options)


def random_images(n, seed=0):
    """Return pictures, shape `(n, 8, 8, 1)`, uint8."""
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 1), dtype=np.uint8)


def read_parts(out):
    """Return all rows of a folder of results as one table, by file and row."""
    import pyarrow.parquet as pq

    table = pq.read_table(Path(out) / "parts")
    return table.sort_by([("file", "ascending"), ("row", "ascending")])


def content(out):
    """Return the bytes of all files below a folder but `job.json`, by path."""
    files = (p for p in Path(out).rglob("*") if p.is_file() and p.name != "job.json")
    return {str(path.relative_to(out)): path.read_bytes() for path in files}
