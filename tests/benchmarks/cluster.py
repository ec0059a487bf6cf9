"""Costs of scoring in parts: rates, time to the first row, the driver's cost, memory.

    python tests/benchmarks/cluster.py rates BUNDLE --rows 2000000
    python tests/benchmarks/cluster.py first BUNDLE
    python tests/benchmarks/cluster.py parts BUNDLE --counts 10 100 1000 10000
    python tests/benchmarks/cluster.py memory BUNDLE --gigabytes 20

BUNDLE takes pictures as uint8. `--engines local ray dask` chooses engines; each cluster is one of
this machine. `--folder` keeps what is generated for the next run.

rates   rows per second with two workers of one thread, beside two plain processes, each of which
        reads half of the files, scores them with `VAERuntime.score` and writes what it gets; and
        beside Ray Data. Rates are those once started: between the times of the files that are
        written, from the moment when each worker has written one; for Ray Data from the moment
        when Ray is up to the end. The times with the start are beside them.
first   seconds from the command to the first part, with a large source.
parts   the driver's processor time and the whole time for parts of one row.
memory  largest resident memory of the driver and its workers on a source larger than memory. The
        engine's own processes and its store are counted apart.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import vae_runtime
from vae_runtime import cluster
from vae_runtime.inference.tuning import default_batch_size

GROUP_ROWS = 16_384
COMMAND = "from vae_runtime.cli.main import main\nif __name__ == '__main__': main()"
PLAIN = """
import os, sys, pyarrow as pa, pyarrow.parquet as pq, vae_runtime
bundle, out, batch_size, *files = sys.argv[1:]
pa.set_cpu_count(1)
vae = vae_runtime.load(bundle, threads=1, batch_size=int(batch_size), tuned=False)
n = 0
for path in files:
    file = pq.ParquetFile(path)
    for i in range(file.num_row_groups):
        column = file.read_row_group(i, columns=["image"]).column(0).combine_chunks()
        x = column.flatten().to_numpy().reshape(-1, *vae.manifest.input.shape)
        pq.write_table(pa.table(vars(vae.score(x))), f"{out}/{os.getpid()}-{n}.parquet")
        n += 1
"""
RAY_DATA = """
import sys, time, logging, numpy as np, ray, vae_runtime
bundle, out, batch_size, source = sys.argv[1:]
ray.init(address="local", num_cpus=4, log_to_driver=False, logging_level=logging.ERROR)
start = time.monotonic()
ray.data.DataContext.get_current().enable_progress_bars = False
class Score:
    def __init__(self):
        self.vae = vae_runtime.load(bundle, threads=1, batch_size=int(batch_size), tuned=False)
    def __call__(self, batch):
        x = np.stack(batch["image"]) if batch["image"].dtype == object else batch["image"]
        return dict(vars(self.vae.score(x.reshape(-1, *self.vae.manifest.input.shape))))
data = ray.data.read_parquet(source, columns=["image"])
pool = ray.data.ActorPoolStrategy(size=2)
data.map_batches(Score, batch_size=4096, compute=pool, num_cpus=1).write_parquet(out)
print(time.monotonic() - start)
"""


def make_source(folder: Path, shape: tuple[int, ...], files: int, rows: int) -> Path:
    """Write pictures that compress well: few patterns, shifted and repeated."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, size = np.random.default_rng(0), int(np.prod(shape))
    patterns = rng.integers(0, 256, (64, size), dtype=np.uint8)
    for i in range(files):
        path = folder / f"{i:05d}.parquet"
        if path.exists() and pq.read_metadata(path).num_rows == rows:
            continue
        x = np.roll(patterns, i, axis=1)[np.arange(rows) // 7 % len(patterns)]
        column = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), size)
        table = pa.table({"id": np.arange(rows) + i * rows, "image": column})
        pq.write_table(table, path, row_group_size=GROUP_ROWS, compression="zstd")
    return folder


class Watch:
    """When files appear in a folder, and how many rows each has."""

    def __init__(self, folder: Path, every: float = 10.0) -> None:
        self.folder, self.start, self._every = folder, time.monotonic(), every
        self.seen: dict[str, float] = {}
        self.printed = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        self.seconds = time.monotonic() - self.start
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(self._every):
            self._look()

    def _look(self) -> None:
        for path in self.folder.rglob("*.parquet"):
            self.seen.setdefault(str(path), time.monotonic() - self.start)

    def rate(self, started: int = 2) -> float:
        """Rows per second after the first `started` files; NaN if there are too few."""
        paths = map(Path, self.seen)
        whole = sorted((p.stat().st_mtime_ns, pq.read_metadata(p).num_rows) for p in paths)
        if len(whole) < 2 * started:
            return float("nan")
        first, last = whole[started - 1][0], whole[-1][0]
        return sum(rows for _, rows in whole[started:]) / ((last - first) / 1e9)


def command(bundle: str, source: Path, out: Path, engine: str, *words: str) -> list[str]:
    words = ("score", bundle, str(source), "-o", str(out), "--engine", engine, *words)
    return [sys.executable, "-c", COMMAND, *words]


def run(words: list[str], out: Path, every: float = 10.0) -> Watch:
    watch = Watch(out, every)
    try:
        result = subprocess.run(words, capture_output=True, text=True, check=False)
    finally:
        watch.end()
    if result.returncode:
        raise RuntimeError(result.stdout + result.stderr)
    watch.printed = result.stdout
    return watch


def emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def rates(args: argparse.Namespace, home: Path) -> None:
    shape = vae_runtime.Bundle(args.bundle).manifest.input.shape
    files = 8
    source = make_source(home / f"source-{args.rows}", shape, files, args.rows // files)
    size, paths = str(default_batch_size(shape)), sorted(map(str, source.glob("*.parquet")))
    for turn in range(args.repeat):
        out = emptied(home / f"plain-{turn}")
        watch = Watch(out)
        halves = [paths[i::2] for i in range(2)]
        words = [sys.executable, "-c", PLAIN, args.bundle, str(out), size]
        running = [subprocess.Popen([*words, *half]) for half in halves]
        assert [each.wait() for each in running] == [0, 0]
        watch.end()
        plain = watch.rate()
        print(f"two plain processes: {plain:,.0f} rows/s", flush=True)
        runs = {}
        more = ("--workers", "2", "--part-rows", str(GROUP_ROWS))
        for engine in args.engines:
            out = emptied(home / f"{engine}-{turn}")
            runs[engine] = run(command(args.bundle, source, out, engine, *more), out)
        if args.ray_data:
            out = emptied(home / f"data-{turn}")
            words = [sys.executable, "-c", RAY_DATA, args.bundle, str(out), size, str(source)]
            runs["Ray Data"] = run(words, out)
        for name, each in runs.items():
            is_data = name == "Ray Data"  # it writes a few large files, all near its end
            rate = args.rows / float(each.printed.split()[-1]) if is_data else each.rate()
            whole = args.rows / each.seconds
            print(
                f"{name}: {rate:,.0f} rows/s, {rate / plain:.2f} of plain; with its start "
                f"{whole:,.0f} rows/s in {each.seconds:.1f} s",
                flush=True,
            )


def first(args: argparse.Namespace, home: Path) -> None:
    shape = vae_runtime.Bundle(args.bundle).manifest.input.shape
    source = make_source(home / f"source-{args.rows}", shape, 8, args.rows // 8)
    for engine in args.engines:
        seconds = []
        for turn in range(args.repeat):
            out = emptied(home / f"first-{engine}-{turn}")
            more = ("--workers", "2", "--part-rows", str(GROUP_ROWS))
            watch = run(command(args.bundle, source, out, engine, *more), out, 0.05)
            seconds.append(min(watch.seen.values()))
        print(f"{engine}: first part after {', '.join(f'{s:.1f}' for s in seconds)} s", flush=True)


def parts(args: argparse.Namespace, home: Path) -> None:
    shape = vae_runtime.Bundle(args.bundle).manifest.input.shape
    for count in args.counts:
        path = home / f"parts-{count}.npy"
        np.save(path, np.zeros((count, *shape), np.uint8))
        for engine in args.engines:
            start, own = time.monotonic(), time.process_time()
            report = cluster.score(
                path,
                args.bundle,
                emptied(home / f"parts-{engine}-{count}"),
                engine=engine,
                workers=2,
                part_rows=1,
                batch_size=1,
            )
            own, whole = time.process_time() - own, time.monotonic() - start
            assert report.parts == report.rows == count, report
            print(
                f"{engine}, {count:,} parts: driver {own:.2f} s, {1e3 * own / count:.2f} ms for "
                f"each; {whole:.1f} s in all, {count / whole:,.0f} parts/s",
                flush=True,
            )


def memory(args: argparse.Namespace, home: Path) -> None:
    shape = vae_runtime.Bundle(args.bundle).manifest.input.shape
    rows = int(args.gigabytes * 1e9 / np.prod(shape))
    files = max(1, rows // 500_000)
    source = make_source(home / f"memory-{rows}", shape, files, rows // files)
    for engine in args.engines:
        out = home / f"memory-{engine}"
        start = time.monotonic()
        words = command(args.bundle, source, out, engine, "--workers", "2", "--resume")
        running = subprocess.Popen(words)
        ours = others = 0
        while running.poll() is None:
            own, engines = resident(running.pid)
            ours, others = max(ours, own), max(others, engines)
            time.sleep(0.2)
        assert running.returncode == 0
        print(
            f"{engine}: {rows:,} rows, {args.gigabytes:g} GB in {time.monotonic() - start:.0f} s; "
            f"driver and workers at most {ours / 1e9:.2f} GB, the engine {others / 1e9:.2f} GB",
            flush=True,
        )


def resident(pid: int) -> tuple[int, int]:
    """Resident bytes of the driver and its workers, and of the engine's other processes."""
    ours = others = 0
    todo = [pid]
    while todo:
        each = todo.pop()
        try:
            pages = map(int, Path(f"/proc/{each}/statm").read_text().split())
            _, own, shared, *_ = (page * os.sysconf("SC_PAGESIZE") for page in pages)
            name = Path(f"/proc/{each}/cmdline").read_bytes()
            for task in Path(f"/proc/{each}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except OSError:
            continue
        if each == pid or name.startswith((b"ray::_score", b"ray::IDLE")) or b"spawn_main" in name:
            ours += own
        else:
            others += own - shared
    return ours, others


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("rates", "first", "parts", "memory"))
    parser.add_argument("bundle")
    parser.add_argument("--engines", nargs="+", default=list(cluster.ENGINES))
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--no-ray-data", dest="ray_data", action="store_false")
    parser.add_argument("--folder", type=Path, help="where to write; kept [default: temporary]")
    args = parser.parse_args()
    what = {"rates": rates, "first": first, "parts": parts, "memory": memory}[args.what]
    if args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
        what(args, args.folder)
    else:
        with tempfile.TemporaryDirectory(prefix="cluster-benchmark-") as folder:
            what(args, Path(folder))


if __name__ == "__main__":
    main()
