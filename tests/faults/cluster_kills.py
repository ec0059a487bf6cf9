"""Kills of workers, nodes and drivers while a source is scored into a folder.

    python tests/faults/cluster_kills.py BUNDLE --engine ray --kind node --kills 20 --seed 0

Each kill has a run of `build-vae score` of its own, which joins a cluster of two nodes with one
processor each (Ray: `ray.cluster_utils.Cluster`; Dask: a `LocalCluster` and `dask worker`; the
engine `local` has its own processes and no nodes). At a random moment of the run, a worker, a node
or the driver is killed (SIGKILL); a node is replaced. If the command did not end with status 0, it
is given again with `--resume`. Then each row must be there once, and every byte must be that of
an undisturbed run in one process. Nothing else may remain.

The exit status is 1 if a promise was broken. `--engine` and `--kind` may be repeated; a long run
may be split by them and by `--seed`. Linux.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import vae_runtime

ENGINES, KINDS = ("local", "ray", "dask"), ("worker", "node", "driver")
COMMAND = "from vae_runtime.cli.main import main\nif __name__ == '__main__': main()"
STUCK_SECONDS = 300


def make_source(folder: Path, shape: tuple[int, ...], parts: int, rows: int) -> None:
    rng, size = np.random.default_rng(0), int(np.prod(shape))
    folder.mkdir()
    for i in range(parts):
        pixels = pa.array(rng.integers(0, 256, rows * size, dtype=np.uint8))
        ids = pa.array(np.arange(i * rows, (i + 1) * rows))
        table = pa.table({"id": ids, "x": pa.FixedSizeListArray.from_arrays(pixels, size)})
        pq.write_table(table, folder / f"{i}.parquet")


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


class LocalCluster:
    """No cluster: the driver's own processes are the workers."""

    words = ("--workers", "2")

    def workers(self, driver: int) -> list[int]:
        return [pid for pid in children(driver) if b"spawn_main" in command_line(pid)]

    def close(self) -> None:
        pass


class RayCluster:
    """A head without processors, and two nodes."""

    def __init__(self) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        from ray.cluster_utils import Cluster

        options = {"num_cpus": 0, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=options)
        self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(2)]
        self.words = ("--ray-address", self.cluster.address)

    def workers(self, driver: int) -> list[int]:
        raylets = [n.all_processes["raylet"][0].process.pid for n in self.nodes]
        found = [pid for raylet in raylets for pid in children(raylet)]
        scoring = (b"ray::IDLE", b"ray::_score")  # the death of another child ends the node
        return [pid for pid in found if command_line(pid).startswith(scoring)]

    def kill_node(self, rng: random.Random) -> None:
        node = self.nodes.pop(rng.randrange(2))
        self.cluster.remove_node(node, allow_graceful=False)
        self.nodes.append(self.cluster.add_node(num_cpus=1))

    def close(self) -> None:
        self.cluster.shutdown()


class DaskCluster:
    """A scheduler, and two nodes, each a nanny with a worker."""

    def __init__(self) -> None:
        import logging

        import distributed

        self.folder = tempfile.mkdtemp(prefix="dask-")
        self.cluster = distributed.LocalCluster(
            n_workers=0, dashboard_address=None, silence_logs=logging.CRITICAL
        )
        self.words = ("--dask-scheduler", self.cluster.scheduler_address)
        self.nodes = [self._node() for _ in range(2)]
        with distributed.Client(self.cluster) as client:
            client.wait_for_workers(2, timeout=60)

    def _node(self) -> subprocess.Popen[bytes]:
        words = ["worker", self.words[1], "--nthreads", "1", "--no-dashboard"]
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *words, "--local-directory", self.folder],
            start_new_session=True,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def workers(self, driver: int) -> list[int]:
        found = [pid for node in self.nodes for pid in children(node.pid)]
        return [pid for pid in found if b"spawn_main" in command_line(pid)]

    def kill_node(self, rng: random.Random) -> None:
        self._kill(self.nodes.pop(rng.randrange(2)))
        self.nodes.append(self._node())

    def _kill(self, node: subprocess.Popen[bytes]) -> None:
        for pid in [*self.workers_of(node.pid), node.pid]:
            kill(pid)
        node.wait()

    def workers_of(self, pid: int) -> list[int]:
        return [each for child in children(pid) for each in (child, *self.workers_of(child))]

    def close(self) -> None:
        for node in self.nodes:
            self._kill(node)
        self.cluster.close()
        shutil.rmtree(self.folder, ignore_errors=True)


CLUSTERS = {"local": LocalCluster, "ray": RayCluster, "dask": DaskCluster}


def command_line(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder but `job.json`, which says what was asked for."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "job.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def rows_of(folder: Path) -> list[tuple[str, int]]:
    table = pq.read_table(folder / "parts", columns=["file", "row"])
    return [*zip(*(table.column(name).to_pylist() for name in ("file", "row")), strict=True)]


class Kills:
    """Runs of the command on one source, compared with an undisturbed run."""

    def __init__(self, bundle: str, home: Path, rng: random.Random) -> None:
        self.bundle, self.home, self.rng = bundle, home, rng
        self.counts: Counter[str] = Counter()
        self.plain = home / "undisturbed"
        self.start("local", self.plain, "--workers", "1").communicate(timeout=STUCK_SECONDS)
        self.expected = content(self.plain)
        rows = rows_of(self.plain)
        assert len(rows) == len(set(rows)), "an undisturbed run has a row twice"

    def start(self, engine: str, out: Path, *words: str) -> subprocess.Popen[str]:
        words = ("score", self.bundle, str(self.home / "source"), "-o", str(out), *words)
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, *words, "--id", "id", "--engine", engine],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def seconds(self, engine: str, cluster) -> float:
        """How long an undisturbed run takes; on a cluster the second time, when all is warm."""
        for i in range(1 if engine == "local" else 2):
            start = time.monotonic()
            run = self.start(engine, self.home / f"warm-{engine}-{i}", *cluster.words)
            text = run.communicate(timeout=STUCK_SECONDS)[0]
            assert run.returncode == 0, text
        return time.monotonic() - start

    def kill_once(self, engine: str, kind: str, cluster, longest: float) -> str | None:
        """Kill once; return what is wrong afterwards, or None."""
        out = self.home / "out"
        shutil.rmtree(out, ignore_errors=True)
        run = self.start(engine, out, *cluster.words)
        time.sleep(self.rng.random() * longest)
        finished = len(list((out / "parts").glob("*")))
        if kind == "driver":
            hit = run.poll() is None and kill(run.pid)
        elif kind == "node":
            hit = run.poll() is None
            cluster.kill_node(self.rng)
        else:
            workers = cluster.workers(run.pid)
            hit = bool(workers) and kill(self.rng.choice(workers))
        text = run.communicate(timeout=STUCK_SECONDS)[0]
        if run.returncode != 0:
            if kind != "driver":
                self.counts[f"{engine} {kind}: status {run.returncode}"] += 1
            run = self.start(engine, out, *cluster.words, "--resume")
            text = run.communicate(timeout=STUCK_SECONDS)[0]
        when = "hit" if hit else "missed"
        middle = ", in the middle" if hit and 0 < finished < len(self.expected) else ""
        self.counts[f"{engine} {kind}: {when}{middle}"] += 1
        if run.returncode != 0 or len(text.splitlines()) != 1:
            return f"status {run.returncode}: {text}"
        found = content(out)
        if found != self.expected:
            names = {n for n in found if found.get(n) != self.expected.get(n)}
            return f"other bytes: {sorted(names or self.expected.keys() - found.keys())}"
        rows = rows_of(out)
        return None if sorted(rows) == sorted(rows_of(self.plain)) else "other rows"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--engine", action="append", choices=ENGINES)
    parser.add_argument("--kind", action="append", choices=KINDS)
    parser.add_argument("--kills", type=int, default=20, help="of each kind on each engine")
    parser.add_argument("--parts", type=int, default=24)
    parser.add_argument("--rows", type=int, default=20_000, help="of each part")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    broken = 0
    with tempfile.TemporaryDirectory(prefix="cluster-kills-") as folder:
        home = Path(folder)
        shape = vae_runtime.Bundle(args.bundle).manifest.input.shape
        make_source(home / "source", shape, args.parts, args.rows)
        kills = Kills(args.bundle, home, random.Random(args.seed))
        for engine in args.engine or ENGINES:
            cluster = CLUSTERS[engine]()
            try:
                longest = kills.seconds(engine, cluster)
                for kind in args.kind or KINDS:
                    for _ in range(args.kills if (engine, kind) != ("local", "node") else 0):
                        if wrong := kills.kill_once(engine, kind, cluster, longest):
                            broken += 1
                            print(f"{engine}, {kind}: {wrong}", flush=True)
            finally:
                cluster.close()
    for what, count in sorted(kills.counts.items()):
        print(f"{what}: {count}")
    print(
        f"{sum(n for k, n in kills.counts.items() if 'status' not in k)} kills: "
        f"{broken} promises broken"
    )
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
