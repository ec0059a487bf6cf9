"""Training and export that take about a second, as commands in children of one process.

TensorFlow is imported once, before any child starts, and computes only in children: a process with
running threads cannot be forked safely. Steps run eagerly, in blocks of two, because compiling them
takes longer than running them.
"""

import contextlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import matplotlib.pyplot
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

import vae_builder.run.runs
import vae_builder.trained_models
import vae_runtime
from vae_builder.training import steps
from vae_runtime.cli import main as cli

assert (
    matplotlib.pyplot and onnxruntime and tf2onnx and vae_builder.trained_models
)  # for the children

DATA = "x.npy"
TRAIN_OPTIONS = ["--hidden=4", "--latent-dim=2", "--batch-size=4", "--patience=9", "--quiet"]
MODELS = ("encoder.keras", "decoder.keras")
DONE = json.dumps([0, ""])


def make_data(folder: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 1))
    np.save(folder / DATA, x.astype(np.uint8))


def train_words(run: Path, data: Path, epochs: int = 2) -> list[str]:
    return ["train", str(run), "--data", str(data), "--epochs", str(epochs), *TRAIN_OPTIONS]


def resume_words(run: Path) -> list[str]:
    return ["train", str(run), "--resume", "--quiet"]


def export_words(bundle: Path, run: Path) -> list[str]:
    return ["export", str(bundle), "--run", str(run), "--force", "--quiet"]


def command(words: list[str]) -> str:
    """Run build-vae in this process; return status and standard error as JSON, `DONE` if empty."""
    steps.MAX_BLOCK_STEPS = 2
    tf.config.run_functions_eagerly(True)
    with (
        contextlib.redirect_stderr(io.StringIO()) as err,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        status = cli.run(words)
    # The data is noise, so a warning says that the model explains nothing of it.
    lines = err.getvalue().splitlines(keepends=True)
    told = [line for line in lines if not line.startswith("Warning: the model explains")]
    return json.dumps([status, "".join(told)])


class Child:
    """Child process that runs a function and sends its result."""

    def __init__(self, work: Callable[[], str]) -> None:
        self.out, into = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException), os.fdopen(into, "w") as file:
                file.write(work())
                file.flush()
                os._exit(0)
            os._exit(1)
        os.close(into)

    def end(self) -> tuple[int, str]:
        """Wait for the child; return its status and its result."""
        with os.fdopen(self.out) as file:
            result = file.read()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), result


def in_child(work: Callable[[], str]) -> str:
    """Return the result of a function in a child, which must end with status 0."""
    status, result = Child(work).end()
    assert status == 0, f"a child ended with {status}"
    return result


def run_command(words: list[str]) -> None:
    """Run build-vae in a child; it must succeed."""
    status, err = json.loads(in_child(lambda: command(words)))
    assert status == 0, f"{' '.join(words)} ended with {status}: {err}"


def digest(bundle: Path) -> str:
    """Read a whole bundle, check it against its proof, and return its digest."""

    def read() -> str:
        try:
            opened = vae_runtime.Bundle(bundle)
            opened.check_files()
            passed = vae_runtime.load(bundle, threads=1, tuned=False).verify().passed
            return opened.sha256 if passed else "the bundle fails its proof"
        except vae_runtime.BuildVaeError as error:
            return str(error)

    found = in_child(read)
    assert len(found) == 64, found
    return found


def weights(run: Path) -> list[bytes]:
    """Return the stored weights of a run that has ended."""
    stored = []
    for name in MODELS:
        with zipfile.ZipFile(run / name) as archive:
            stored.append(archive.read("model.weights.h5"))
    return stored
