"""`import vae_export` is light; what its names need is named if it is missing."""

import subprocess
import sys


def fresh(program):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    return done.stdout, done.stderr


def test_missing_tensorflow_names_the_extra():
    out, err = fresh(
        "import sys; sys.modules['tensorflow'] = None\n"
        "import vae_export, vae_runtime\n"
        "try: vae_export.export\n"
        "except vae_runtime.MissingExtraError as error: print(error)"
    )
    assert out == (
        "exporting a model needs tensorflow, which is not installed: "
        'pip install "build-vae[build]"\n'
    ), err


def test_names_are_found_by_a_star_and_unknown_ones_are_named():
    out, err = fresh(
        "import vae_export\n"
        "print(all(getattr(vae_export, name) for name in vae_export.__all__))\n"
        "try: vae_export.nope\n"
        "except AttributeError as error: print(error)"
    )
    assert out == "True\nmodule 'vae_export' has no attribute 'nope'\n", err
