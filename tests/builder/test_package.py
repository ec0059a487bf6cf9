"""`import vae_builder` is light, and its names do not depend on earlier imports."""

import subprocess
import sys

import pytest


def fresh(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )


def test_import_is_light():
    result = fresh(
        "import sys, vae_builder, vae_builder.cli\n"
        "heavy = {'tensorflow', 'keras', 'onnx', 'tf2onnx', 'matplotlib', 'PIL', 'onnxruntime'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert result.stdout == "[]\n", result.stderr


def test_names_are_not_hidden_by_modules_of_the_same_name():
    """`export_trained` imports the module `train`, but `vae_builder.train` stays the function."""
    result = fresh(
        "from vae_builder import TrainConfig, export_trained, load_dataset, train, evaluate\n"
        "import vae_builder, vae_builder.trained_models, vae_builder.run.runs\n"
        "print(callable(train), vae_builder.train is train)"
    )
    assert result.stdout == "True True\n", result.stderr


def test_missing_tensorflow_names_the_extra():
    result = fresh(
        "import sys; sys.modules['tensorflow'] = None\n"
        "import vae_builder\n"
        "try: vae_builder.VAE\n"
        "except vae_builder.MissingExtraError as error: print(error)"
    )
    assert result.stdout == (
        "building a model needs tensorflow, which is not installed: "
        'pip install "build-vae[build]"\n'
    ), result.stderr


def test_unknown_name():
    import vae_builder

    with pytest.raises(AttributeError, match="module 'vae_builder' has no attribute 'nope'"):
        _ = vae_builder.nope
