"""Packages that `pip install "build-vae[cpu]"` installs: no new one comes in unnoticed."""

from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXPECTED = {"numpy", "click", "msgspec", "onnxruntime", "flatbuffers", "packaging", "protobuf"}
"""Direct dependencies, and the packages that ONNX Runtime needs."""

OF_OLDER_RELEASES = {"coloredlogs", "humanfriendly", "sympy", "mpmath"}
"""Packages that ONNX Runtime needed until version 1.23."""

LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}


def closure(name, extras):
    """Return all packages that one needs, from the metadata of the installed packages."""
    todo, seen = [(name, frozenset(extras))], set()
    while todo:
        package, wanted = todo.pop()
        if (package, wanted) in seen:
            continue
        seen.add((package, wanted))
        for line in metadata.requires(package) or ():
            need = Requirement(line)
            environments = [{**LINUX, "extra": extra} for extra in wanted or {""}]
            if need.marker is None or any(need.marker.evaluate(e) for e in environments):
                todo.append((canonicalize_name(need.name), frozenset(need.extras)))
    return {package for package, _ in seen} - {name}


def test_packages_that_the_cpu_extra_installs():
    found = closure("build-vae", ["cpu"])
    assert found >= {"numpy", "click", "onnxruntime"}
    assert found - OF_OLDER_RELEASES <= EXPECTED


def test_the_closure_follows_extras():
    assert "tensorflow" in closure("build-vae", ["build"])
    assert "tensorflow" not in closure("build-vae", [])
