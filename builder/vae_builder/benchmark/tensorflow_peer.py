"""TensorFlow as a peer in the runtime's benchmark: a bundle's SavedModels, timed in processes.

A process can set TensorFlow's number of threads only once, so each thread count has one. TensorFlow
is never imported here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vae_runtime.benchmark.cold_start import child_environment, last_line
from vae_runtime.benchmark.timing import Seconds
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.errors import MeasurementError

WORKER = Path(__file__).with_name("tensorflow_worker.py")


class TensorFlowPeer:
    """Process that scores a bundle with TensorFlow; a `vae_runtime.Peer`.

    The constructor returns after the first score. It and `measure` raise MeasurementError if the
    process ends.
    """

    def __init__(self, path: Path, threads: int, *, gpu: bool) -> None:
        self.threads = threads
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        hidden = {} if gpu else {"CUDA_VISIBLE_DEVICES": "-1"}
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-P", WORKER, path, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env={**child_environment(), "TF_CPP_MIN_LOG_LEVEL": "3", **hidden},
        )
        try:
            answer = self._answer()
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.perf_counter() - began
        self.name = f"TensorFlow {answer['version']}"
        self.resident_bytes: int | None = answer["resident_bytes"]

    def measure(self, batch: int, seconds: float, *, warm: bool) -> Seconds:
        """Time the loss of `batch` samples, as `timed_calls` does."""
        assert self._process.stdin is not None
        request = json.dumps({"batch": batch, "seconds": seconds, "warm": warm})
        with contextlib.suppress(BrokenPipeError):  # _answer reports why the process ended
            print(request, file=self._process.stdin, flush=True)
        times: Seconds = self._answer()
        return times

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._process.wait()
        self._stderr.seek(0)
        raise MeasurementError(
            f"TensorFlow's process ended with status {self._process.returncode}: "
            f"{last_line(self._stderr.read())}: leave TensorFlow out (--no-tensorflow)"
        )


@contextlib.contextmanager
def tensorflow_peers(
    path: Path, threads: Sequence[int], gpu: bool = False
) -> Iterator[list[TensorFlowPeer]]:
    """Start one process per thread count; end them when the block ends.

    Files are checked against the manifest before TensorFlow opens them. Opening a SavedModel trusts
    its author. The list is empty if TensorFlow is not installed, or if the bundle is a single file:
    TensorFlow reads SavedModels from folders only.

    Raises:
        BundleError: A file of the bundle is missing or was changed.
        MeasurementError: A process ended.
    """
    bundle = Bundle(path)
    if importlib.util.find_spec("tensorflow") is None or path.is_file():
        yield []
        return
    bundle.check_files()
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(contextlib.closing(TensorFlowPeer(path, count, gpu=gpu)))
            for count in threads
        ]
