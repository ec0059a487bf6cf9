"""Run the main job, the variants and the light runtime at both ends of every declared range.

    python tests/bounds.py [lowest] [highest] [--folder FOLDER]

The ranges are those of `pyproject.toml`. `lowest` installs the lower bound of each requirement,
`highest` the newest version that its range allows. Each end gets two new virtual environments:

    build   trains on the digits, exports with both variants, verifies, and runs the edge forms
    light   verifies, scores and evaluates the same bundle; only numpy, click, msgspec, ONNX Runtime

This takes minutes and a package index, so CI does not run it. Use the oldest Python that
`pyproject.toml` allows: newer ones may have no wheel of the lowest versions.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
ENDS = ("lowest", "highest")
ENVIRONMENTS = {"build": ("build", "parquet"), "light": ("cpu",)}
"""Environments, and the extras in each."""

COMMANDS = {
    "build": (
        "train digits-run --data digits --epochs 2 -q",
        "export trained-vae --run digits-run --force -q",
        "export digits-vae --epochs 2 --precision float16,int8 --allow-drift float16,int8 "
        "--force -q",
        "verify digits-vae",
        "verify digits-vae --against saved-model",
        "export conv-vae --preset conv --epochs 1 --precision float16,int8 "
        "--allow-drift float16,int8 --force -q",
        "verify conv-vae",
        "edge digits-vae -o digits-edge",
        "pack digits-vae -o digits.vae",
    ),
    "light": (
        "verify digits-vae",
        "verify conv-vae",
        "verify digits.vae",
        "score digits-vae digits -o scores.csv",
        "evaluate digits-vae digits --draws 2",
        "sample digits-vae -n 1 -o digit.npy",
        "reconstruct digits-vae digit.npy -o reconstruction.npy",
    ),
}
"""Commands of build-vae in each environment, in this order, in one folder."""


def requirements(extras: tuple[str, ...]) -> list[Requirement]:
    """Return the requirements of the package and some of its extras, as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    optional = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in extras for line in optional[extra])]
    return [Requirement(line) for line in lines]


def lowest(requirement: Requirement) -> str:
    """Return a constraint to the lower bound of a requirement; every one must have one."""
    bounds = [s.version for s in requirement.specifier if s.operator == ">="]
    if len(bounds) != 1:
        raise SystemExit(f"{requirement} has no single lower bound: declare what was tested")
    return f"{requirement.name}=={bounds[0]}"


def install(folder: Path, extras: tuple[str, ...], end: str) -> Path:
    """Make an environment with this project at one end of its ranges; return its `bin` folder."""
    venv.create(folder, with_pip=True, clear=True)
    constraints = folder / "constraints.txt"
    wanted = requirements(extras)
    constraints.write_text("\n".join(map(lowest, wanted)) if end == "lowest" else "")
    pip = [folder / "bin/python", "-m", "pip", "--disable-pip-version-check"]
    project = f"{ROOT}[{','.join(extras)}]"
    subprocess.run([*pip, "install", "-q", "-c", constraints, project], check=True)
    listed = subprocess.run([*pip, "list", "--format=freeze"], check=True, capture_output=True)
    names = {requirement.name.lower() for requirement in wanted}
    found = [
        line for line in listed.stdout.decode().split() if line.lower().split("==")[0] in names
    ]
    print(f"== {end}, {folder.name}: {', '.join(found)}", flush=True)
    return folder / "bin"


def failures(end: str, folder: Path) -> list[str]:
    """Run all commands at one end; return those that failed."""
    work = folder / f"{end}-work"
    work.mkdir(parents=True, exist_ok=True)
    failed = []
    for name, extras in ENVIRONMENTS.items():
        executable = install(folder / f"{end}-{name}", extras, end) / "build-vae"
        for command in COMMANDS[name]:
            print(f"-- {end}, {name}: build-vae {command}", flush=True)
            if subprocess.run([executable, *command.split()], cwd=work).returncode:
                failed.append(f"{end}, {name}: build-vae {command}")
    return failed


def main() -> int:
    """Run the ends that were asked for; return 1 if a command failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ends", nargs="*", help=f"{' or '.join(ENDS)} [default: both]")
    parser.add_argument("--folder", type=Path, help="keep the environments and the bundles here")
    options = parser.parse_args()
    if unknown := {*options.ends} - {*ENDS}:
        parser.error(f"{unknown.pop()!r} is unknown: choose from {', '.join(ENDS)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        failed = [line for end in options.ends or ENDS for line in failures(end, folder.resolve())]
    for line in failed:
        print(f"FAILED {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
