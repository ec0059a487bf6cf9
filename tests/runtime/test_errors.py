"""The exception tree agrees with the drawing in the docstring of its module."""

import copy
import importlib
import inspect
import pickle
import pkgutil
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


def subclasses(cls):
    for child in cls.__subclasses__():
        yield child
        yield from subclasses(child)


def all_exceptions():
    """Return the exception classes of the light runtime: the tree's, and those of single rooms."""
    for module in pkgutil.walk_packages(vae_runtime.__path__, "vae_runtime."):
        importlib.import_module(module.name)
    tree = {errors.BuildVaeError, *subclasses(errors.BuildVaeError)}
    others = {cls for cls in subclasses(Exception) if cls.__module__.startswith("vae_runtime.")}
    return sorted(tree | others, key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", all_exceptions())
def test_each_keeps_its_type_and_message_in_a_pickle(cls):
    names = [*inspect.signature(cls.__init__).parameters][1:]
    error = cls(*["a word"] * (1 if "args" in names else len(names)))
    error.add_note("a note")
    pickles = (pickle.dumps(error, i) for i in range(pickle.HIGHEST_PROTOCOL + 1))
    for found in (*map(pickle.loads, pickles), copy.copy(error), copy.deepcopy(error)):
        assert type(found) is cls
        assert (str(found), found.args, found.__notes__) == (str(error), error.args, ["a note"])
        assert getattr(found, "msg", None) == getattr(error, "msg", None)
