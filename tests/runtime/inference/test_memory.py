"""Memory that runs out ends in one line, whether Python or ONNX Runtime asked for it."""

import subprocess
import sys

import pytest

import vae_runtime
from vae_runtime import ProviderError
from vae_runtime.inference.memory import memory_errors

LIMITED = """
import resource, sys
import onnxruntime, vae_runtime
status = open("/proc/self/status").read()
held = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (held << 10, held << 10))
try:
    print(vae_runtime.load(sys.argv[1], threads=1).verify().passed)
except vae_runtime.ProviderError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sets Linux's limit of memory")
def test_verify_under_a_limit_of_memory_is_one_line(exported):
    path = exported("dense", "bce", (64, 64, 1), 3)
    command = [sys.executable, "-c", LIMITED, str(path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    (line,) = result.stdout.splitlines()
    assert "out of memory" in line or "bad_alloc" in line


@pytest.mark.parametrize("step", ["check_files", "read"])
def test_verify_names_the_bundle(exported, monkeypatch, step):
    def fail(*args):
        raise MemoryError

    vae = vae_runtime.load(exported(), threads=1)
    monkeypatch.setattr(vae.bundle, step, fail)
    with pytest.raises(ProviderError, match=r"^verifying .*small-vae: out of memory: allow this"):
        vae.verify()


def test_the_reason_is_kept_and_other_errors_pass():
    rule = r"^scoring: out of memory \(9 GiB\): allow"
    with pytest.raises(ProviderError, match=rule), memory_errors("scoring"):
        raise MemoryError("9 GiB")
    with pytest.raises(KeyError), memory_errors("scoring"):
        raise KeyError
