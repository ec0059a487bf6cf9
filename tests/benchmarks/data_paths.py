"""Training speed and memory use for different sources of samples.

    python tests/benchmarks/data_paths.py
    python tests/benchmarks/data_paths.py --samples 60000 --steps 1400 --repeat 3 --gigabytes 4

Throughput: steps per second of `vae_builder.train` on the dense preset, from the first progress
report (compilation is done by then) to the one that reaches `--steps`. The sources take turns, each
`--repeat` times. The best value counts, so that other work on the machine affects all alike.

Memory: a separate process loads, checks and trains on a sparse `.npy` of `--gigabytes`. `anonymous`
is memory of the process itself. `of files` are pages of the file, which the system reclaims when it
needs them. `peak RSS` is the sum of both.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from vae_builder import TrainConfig, load_dataset, train
from vae_builder.data import Dataset

SHAPE = (28, 28, 1)
KB = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--gigabytes", type=float, default=1)
    parser.add_argument("--dtype", default="uint8", help="of the file that memory is measured on")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        report_memory(options.memory_of, options.steps, options.batch_size)
        return
    with tempfile.TemporaryDirectory() as folder:
        throughput(Path(folder), options)
    with tempfile.TemporaryDirectory() as folder:
        memory(Path(folder), options)


def throughput(folder: Path, options: argparse.Namespace) -> None:
    x = np.random.default_rng(0).integers(0, 256, (options.samples, *SHAPE), dtype=np.uint8)
    np.save(folder / "uint8.npy", x)
    np.save(folder / "float32.npy", x.astype(np.float32) / 255)
    np.save(folder / "float64.npy", x.astype(np.float64) / 255)
    (folder / "pictures").mkdir()
    for i, picture in enumerate(x[..., 0]):
        Image.fromarray(picture).save(folder / "pictures" / f"{i:06}.png", compress_level=1)
    sources = {
        "memory, uint8": Dataset.from_arrays("memory", x),
        "mapped .npy, uint8": load_dataset(folder / "uint8.npy"),
        "memory, float32": Dataset.from_arrays("memory", x.astype(np.float32) / 255),
        "mapped .npy, float32": load_dataset(folder / "float32.npy"),
        "mapped .npy, float64": load_dataset(folder / "float64.npy"),
    }
    started = time.perf_counter()
    sources["folder of pictures"] = load_dataset(folder / "pictures")
    decoding = time.perf_counter() - started
    best = dict.fromkeys(sources, 0.0)
    for _ in range(options.repeat):
        for name, dataset in sources.items():
            best[name] = max(best[name], steps_per_second(dataset, options))
    print(f"{'source':<22}{'steps/s':>9}{'to memory':>11}")
    for name, rate in best.items():
        base = best["memory, float32" if "float" in name else "memory, uint8"]
        print(f"{name:<22}{rate:>9.1f}{rate / base:>11.2f}")
    print(f"{options.samples} pictures were decoded in {decoding:.1f} s", flush=True)


def steps_per_second(dataset: Dataset, options: argparse.Namespace) -> float:
    reports: list[tuple[int, float]] = []
    train_steps(dataset, options.steps, options.batch_size, reports)
    (first, start), (last, end) = reports[0], reports[-1]
    return (last - first) / (end - start)


def train_steps(
    dataset: Dataset, steps: int, batch_size: int, reports: list[tuple[int, float]] | None = None
) -> None:
    """Train for `steps` steps, then stop as Ctrl-C does; `reports` receives (step, time)."""

    def on_progress(progress) -> None:
        if reports is not None:
            reports.append((progress.step, time.perf_counter()))
        if progress.step >= steps:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        train(dataset, TrainConfig(epochs=1000, batch_size=batch_size), on_progress=on_progress)


def memory(folder: Path, options: argparse.Namespace) -> None:
    path = folder / "big.npy"
    size = np.dtype(options.dtype).itemsize * int(np.prod(SHAPE))
    count = int(options.gigabytes * 1e9) // size
    np.lib.format.open_memmap(path, "w+", options.dtype, (count, *SHAPE)).flush()
    print(
        f"\n{count} samples of {options.dtype} in a file of {path.stat().st_size / 1e9:.1f} GB",
        flush=True,
    )
    arguments = ["--memory-of", path, "--steps", options.steps, "--batch-size", options.batch_size]
    subprocess.run([sys.executable, __file__, *map(str, arguments)], check=True)


def report_memory(path: Path, steps: int, batch_size: int) -> None:
    small = np.zeros((batch_size * 10, *SHAPE), np.uint8)
    # TensorFlow allocates its memory here, so that the rows below do not count it.
    train_steps(Dataset.from_arrays("start", small), 20, batch_size)
    print(f"{'after':<22}{'seconds':>9}{'anonymous':>11}{'of files':>10}{'peak RSS':>10}  MB")
    print_row("start", 0.0, anonymous_and_file())
    started, peak = time.perf_counter(), MemoryPeak()
    dataset = load_dataset(path)
    print_row("load_dataset", time.perf_counter() - started, peak.stop())
    started, peak = time.perf_counter(), MemoryPeak()
    train_steps(dataset, steps, batch_size)
    print_row(f"{steps} steps", time.perf_counter() - started, peak.stop())
    started, peak = time.perf_counter(), MemoryPeak()
    _ = dataset.digest
    print_row("digest", time.perf_counter() - started, peak.stop())


def print_row(name: str, seconds: float, used: tuple[float, float]) -> None:
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KB / 1e6
    print(f"{name:<22}{seconds:>9.1f}{used[0]:>11.0f}{used[1]:>10.0f}{whole:>10.0f}")


def anonymous_and_file() -> tuple[float, float]:
    """Return the anonymous and the file-backed resident size in megabytes (Linux)."""
    status = dict(
        row.split(":", 1) for row in Path("/proc/self/status").read_text().splitlines() if row
    )
    anonymous, file = (int(status[key].split()[0]) * KB / 1e6 for key in ("RssAnon", "RssFile"))
    return anonymous, file


class MemoryPeak:
    """Maximum of both resident sizes until `stop`, sampled every 10 ms."""

    def __init__(self) -> None:
        self._maximum = anonymous_and_file()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            now = anonymous_and_file()
            self._maximum = (max(self._maximum[0], now[0]), max(self._maximum[1], now[1]))

    def stop(self) -> tuple[float, float]:
        self._done.set()
        self._thread.join()
        return self._maximum


if __name__ == "__main__":
    main()
