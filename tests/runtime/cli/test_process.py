"""The command line in a process of its own: exit statuses, missing packages, pipes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from messages import one_line
from sealing import tamper


def process(*words, before="", **options):
    program = f"import sys\n{before}\nfrom vae_runtime.cli.main import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **options,
    )


def blocked(*modules):
    return "".join(f"sys.modules[{module!r}] = None; " for module in modules)


def test_exit_statuses_of_the_process(exported, bundle, tmp_path):
    tamper(bundle)
    found = {
        words[0]: process(*words).returncode
        for words in (
            ("--version",),
            ("verify", bundle),
            ("nope",),
            ("inspect", tmp_path / "none"),
        )
    }
    assert found == {"--version": 0, "verify": 1, "nope": 2, "inspect": 3}


def test_a_failed_check_keeps_its_status_when_nobody_reads(bundle):
    tamper(bundle)
    program = f"from vae_runtime.cli.main import main; main(['verify', {str(bundle)!r}])"
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-c", program]
    assert subprocess.run(words, stdout=writer, check=False).returncode == 1
    os.close(writer)


def test_commands_that_use_a_bundle_never_import_tensorflow(exported, data, tmp_path):
    light = blocked("tensorflow", "keras", "onnx", "tf2onnx", "matplotlib", "PIL")
    for words in (
        ("verify", exported()),
        ("score", exported(), data, "-o", tmp_path / "a.csv"),
        ("sample", exported(), "-o", tmp_path / "a.npy"),
    ):
        result = process(*words, before=light)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("package", "purpose"),
    [("tensorflow", "build-vae export"), ("matplotlib", "training and exporting")],
)
def test_missing_package_of_the_build_extra(package, purpose, exported, data, tmp_path):
    words = ("export", tmp_path / "a", "--data", data)
    result = process(*words, before=blocked(package))
    assert (result.returncode, result.stdout) == (3, "")
    assert one_line(result.stderr.splitlines(keepends=True)[-1]) == (
        f'Error: {purpose} needs {package}, which is not installed: pip install "build-vae[build]"'
    )
    assert "Traceback" not in result.stderr


def test_missing_onnxruntime(exported):
    result = process("verify", exported(), before=blocked("onnxruntime"))
    assert result.returncode == 3
    assert one_line(result.stderr).endswith(
        'needs ONNX Runtime, which is not installed: pip install "build-vae[cpu]"'
    )


def test_pictures_need_pillow(exported, tmp_path):
    """What is missing is said before the work is done."""
    result = process("sample", exported(), "-o", tmp_path / "a.png", before=blocked("PIL"))
    assert (result.returncode, result.stdout) == (3, "")
    assert one_line(result.stderr) == (
        "Error: writing a picture needs pillow, which is not installed: "
        'pip install "build-vae[pictures]"'
    )


@pytest.mark.parametrize("samples", [3, 20_000])
def test_reader_of_a_pipe_that_goes_away(samples, exported, tmp_path):
    """As `head` does: no message, and no status that says that a check failed."""
    np.save(tmp_path / "x.npy", np.zeros((samples, 8, 8, 1), np.uint8))
    reader, writer = os.pipe()
    os.close(reader)
    words = ("score", exported(), tmp_path / "x.npy")
    script = "import sys\nfrom vae_runtime.cli.main import main\nmain()"
    with os.fdopen(writer, "wb") as pipe:
        result = subprocess.run(
            [sys.executable, "-c", script, *map(str, words)],
            stdout=pipe,
            stderr=subprocess.PIPE,
            check=False,
            timeout=120,
        )
    assert (result.returncode, result.stderr) == (0, b"")


def test_console_script_is_this_command():
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="build-vae")
    assert script.value == "vae_runtime.cli.main:main"
    assert Path(sys.executable).is_file()
