"""The folder of results: what it belongs to, which parts are finished, which were set aside.

job.json      bundle, options and versions; a job goes on only if they are the same
parts/        the scores of each part; a file that is there is finished
errors/       rows that cannot be scored: place, identifiers, reason
failed.jsonl  parts that were set aside, and why; not there if there are none
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from vae_runtime.cluster.job import Job, Part, differing_versions
from vae_runtime.cluster.part import PARTS
from vae_runtime.cluster.report import SetAside
from vae_runtime.cluster.trees import Tree
from vae_runtime.errors import InputError, OptionError

JOB_FILE, FAILED_FILE = "job.json", "failed.jsonl"
FORMAT = 1


def begin(tree: Tree) -> bytes | None:
    """Return what `job.json` holds, and None if the folder is new or has no finished part.

    Raises:
        InputError: the folder holds something else than results of this job.
    """
    names = tree.names("")
    if JOB_FILE not in names:
        if names - {".writing"}:
            raise InputError(
                f"{tree.location} holds {', '.join(sorted(names)[:3])}, expected an empty folder "
                "or results of an earlier run: give another folder"
            )
        return None
    if not tree.names(PARTS):
        return None
    with tree.open(JOB_FILE) as file:
        return file.read()


def check_same_job(tree: Tree, job: Job, written: bytes, *, resume: bool) -> None:
    """Check that a folder belongs to this job, and that it may go on.

    Raises:
        OptionError: it may not go on without `resume`, or has other options.
        InputError: `job.json` is damaged.
    """
    if not resume:
        raise OptionError(
            f"{tree.location} holds results already: go on with --resume, or give another folder"
        )
    try:
        other: dict[str, Any] = json.loads(written)
        identity, versions = other["job"], [tuple(pair) for pair in other["versions"].items()]
    except (ValueError, KeyError, AttributeError, TypeError):
        raise InputError(
            f"{tree.location}/{JOB_FILE} is damaged: give another folder, and remove this one"
        ) from None
    wanted = json.loads(json.dumps(job.identity))
    if identity != wanted:
        names = sorted({*identity, *wanted})
        key = next(name for name in names if identity.get(name) != wanted.get(name))
        raise OptionError(
            f"{tree.location} was begun with {key} {identity.get(key)!r}, not {wanted.get(key)!r}: "
            "give the same options and the same bundle, or another folder"
        )
    if found := differing_versions(tuple(versions), job.versions):
        raise OptionError(
            f"{tree.location} was begun with other versions, here is {found}: go on with the same "
            "ones, or give another folder"
        )


def write_job(tree: Tree, job: Job) -> None:
    """Write `job.json`."""
    content = {"format": FORMAT, "job": job.identity, "versions": dict(job.versions)}
    tree.write(JOB_FILE, json.dumps(content, indent=2).encode() + b"\n")


def finished(tree: Tree, parts: Sequence[Part], source: str) -> set[str]:
    """Return the names of the parts that are finished.

    Raises:
        InputError: there are results of parts that the source no longer has.
    """
    found = {name.removesuffix(".parquet") for name in tree.names(PARTS)}
    if others := found - {part.name for part in parts}:
        raise InputError(
            f"{tree.location}/{PARTS} has {len(others)} parts that {source} no longer has, such as "
            f"{min(others)}: a file was changed or removed, or --part-rows is another one; score "
            "into another folder"
        )
    return found


def write_failed(tree: Tree, failed: Sequence[SetAside]) -> None:
    """Write `failed.jsonl`, or remove it if no part was set aside."""
    if failed:
        lines = (json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in failed)
        tree.write(FAILED_FILE, "".join(lines).encode())
    else:
        tree.remove(FAILED_FILE)
