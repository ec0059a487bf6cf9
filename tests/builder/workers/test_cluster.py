"""`TF_CONFIG`: whom it names, and what is refused."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from vae_builder.workers.cluster import Cluster, cluster_from_environment
from vae_runtime import OptionError

HOSTS = ["a:1", "b:2", "c:3"]


def read(monkeypatch, content):
    text = content if isinstance(content, str) else json.dumps(content)
    monkeypatch.setenv("TF_CONFIG", text)
    return cluster_from_environment()


def config(index=0, kind="worker", **tasks):
    return {"cluster": tasks or {"worker": HOSTS}, "task": {"type": kind, "index": index}}


@pytest.mark.parametrize(
    "content", ["", " ", "{}", json.dumps({"task": {"index": 0}}), config(worker=["a:1"])]
)
def test_one_worker_needs_no_cluster(monkeypatch, content):
    assert read(monkeypatch, content) is None
    monkeypatch.delenv("TF_CONFIG")
    assert cluster_from_environment() is None


def test_workers_are_numbered_as_they_are_listed(monkeypatch):
    found = read(monkeypatch, config(2))
    assert found == Cluster(tuple(HOSTS), 2)
    assert found.name(1) == "worker 1 (b:2)" and not found.is_chief


def test_a_chief_is_the_first_worker(monkeypatch):
    tasks = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}
    assert read(monkeypatch, config(0, "chief", **tasks)) == Cluster(tuple(HOSTS), 0)
    assert read(monkeypatch, config("1", "worker", **tasks)) == Cluster(tuple(HOSTS), 2)


def test_addresses_of_version_6():
    assert Cluster(("[::1]:80", "b:2"), 0).host_and_port(0) == ("::1", 80)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        (config(worker=["a:1", "b"]), "'b' is not host:port"),
        (config(worker=["a:1", "b:99999"]), "is not host:port"),
        (config(worker=["a:1", "a:1"]), "names one address twice"),
        (config(worker=HOSTS, ps=["d:4"]), "tasks of type 'ps', expected worker"),
        (config(3), "task 3 of type 'worker', which it does not name"),
        (config(0, "evaluator"), "task 0 of type 'evaluator'"),
    ],
)
def test_what_cannot_be_used_is_refused_with_an_example(monkeypatch, content, reason):
    with pytest.raises(OptionError, match=r"TF_CONFIG .*host1:2222") as refused:
        read(monkeypatch, content)
    assert reason in str(refused.value)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("index", [0, 1])
def test_the_script_of_the_readme_names_all_workers(monkeypatch, tmp_path, index):
    """With a `build-vae` that prints what it was given."""
    readme = (Path(__file__).parents[3] / "builder" / "README.md").read_text("utf-8")
    (script,) = re.findall(r"^```bash\n(#!/bin/bash\n# worker.sh.*?)^```$", readme, re.S | re.M)
    (tmp_path / "worker.sh").write_text(script)
    (tmp_path / "build-vae").write_text('#!/bin/bash\necho "$TF_CONFIG"\n')
    (tmp_path / "build-vae").chmod(0o755)
    words = ["bash", str(tmp_path / "worker.sh"), str(index), "node0", "node1"]
    path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    out = subprocess.run(words, capture_output=True, text=True, check=True, env=path).stdout
    assert read(monkeypatch, out) == Cluster(("node0:2222", "node1:2222"), index)
