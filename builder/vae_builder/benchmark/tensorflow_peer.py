"""TensorFlow beside the runtime: a bundle's SavedModels, timed in processes of their own.

TensorFlow takes its number of threads once in a process, so there is a process for each. It is
never imported here.
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

from vae_runtime import strict_json
from vae_runtime.benchmark.cold_start import child_environment, last_line
from vae_runtime.benchmark.timing import Seconds
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.errors import MeasurementError

WORKER = Path(__file__).with_name("tensorflow_worker.py")


class TensorFlowPeer:
    """A process that scores a bundle by TensorFlow; a `vae_runtime.Peer`.

    Attributes:
        name: TensorFlow, with its version.
        threads: that it uses.
        start_seconds: from its start to its first score.
        resident_bytes: its largest resident size at that time; None where it is not known.
    """

    def __init__(self, bundle: Bundle, threads: int, *, gpu: bool, errors: Any) -> None:
        """Starts the process and waits for its first score.

        Args:
            bundle: whose SavedModels, which are trusted.
            threads: that it uses.
            gpu: whether it may use a GPU.
            errors: file that takes its standard error.

        Raises:
            MeasurementError: it ended.
        """
        self.threads = threads
        self._errors = errors
        saved = bundle.manifest.saved_models
        assert saved is not None
        words = [
            *(
                str((bundle.path / model.path).absolute())
                for model in (saved.encoder, saved.decoder)
            ),
            strict_json.encode(bundle.manifest).decode(),
            str(threads),
        ]
        hidden = {} if gpu else {"CUDA_VISIBLE_DEVICES": "-1"}
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
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
        """Times the loss of so many samples, as `vae_runtime.benchmark.timing.timed_calls` does.

        Raises:
            MeasurementError: the process ended.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its answer says why
            print(
                json.dumps({"batch": batch, "seconds": seconds, "warm": warm}),
                file=self._process.stdin,
                flush=True,
            )
        times: Seconds = self._answer()
        return times

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        raise MeasurementError(
            f"TensorFlow's process ended with status {self._process.returncode}: "
            f"{last_line(self._errors.read())}: leave TensorFlow out (--no-tensorflow)"
        )


@contextlib.contextmanager
def tensorflow_peers(
    path: Path, threads: Sequence[int], gpu: bool = False
) -> Iterator[list[TensorFlowPeer]]:
    """Processes that score a bundle by TensorFlow, until the block ends.

    Args:
        path: the bundle's folder. Opening a SavedModel trusts whoever made it; the files are
            checked against the manifest first.
        threads: one process for each.
        gpu: whether they may use a GPU.

    Yields:
        The processes; none where TensorFlow is not installed, or for a single file, whose
        SavedModels, if it has any, are in no folder that TensorFlow could read.

    Raises:
        BundleError: a file is missing or was changed.
        MeasurementError: a process ended.
    """
    bundle = Bundle(path)
    if importlib.util.find_spec("tensorflow") is None or path.is_file():
        yield []
        return
    bundle.check_files()
    with contextlib.ExitStack() as stack:
        peers = []
        for count in threads:
            errors = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            peer = TensorFlowPeer(bundle, count, gpu=gpu, errors=errors)
            stack.callback(peer.close)
            peers.append(peer)
        yield peers
