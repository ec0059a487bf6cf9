"""The exception tree agrees with the drawing in the docstring of its module."""

import inspect
import re

import pytest

import vae_runtime
from vae_runtime import errors

CLASSES = {
    name: cls
    for name, cls in inspect.getmembers(errors, inspect.isclass)
    if cls.__module__ == errors.__name__
}
DRAWN = re.findall(r"^[├└]── (\w+) ", errors.__doc__, re.MULTILINE)
BUILTIN = {"InputError": ValueError, "OptionError": ValueError, "MissingExtraError": ImportError}


def test_the_drawing_shows_every_class():
    assert "\nBuildVaeError\n" in errors.__doc__
    assert sorted([*DRAWN, "BuildVaeError"]) == sorted(CLASSES)


@pytest.mark.parametrize("name", DRAWN)
def test_each_is_a_direct_child_of_the_base(name):
    base = vae_runtime.BuildVaeError
    assert CLASSES[name].__bases__ == (base, *([BUILTIN[name]] if name in BUILTIN else []))


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_each_is_public_and_documented(name):
    assert getattr(vae_runtime, name) is CLASSES[name]
    assert name in vae_runtime.__all__
    assert CLASSES[name].__doc__


def test_a_missing_extra_names_the_command_that_installs_it():
    error = errors.MissingExtraError("running a bundle", "ONNX Runtime", "cpu")
    assert str(error) == (
        'running a bundle needs ONNX Runtime, which is not installed: pip install "build-vae[cpu]"'
    )
