"""The monitor: a stream whose state outlives the process, and is refused where it does not fit."""

import json
import multiprocessing
import os
import signal
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vae_runtime import BuildVaeError, DriftMonitor, InputError, OptionError
from vae_runtime.drift import state_fields
from vae_runtime.drift.state_fields import StateFields, parse_state
from vae_runtime.files import strict_json


class StandIn:
    """A model that reconstructs the mean of its training data; its score is the squared error."""

    def __init__(self, sha256="ab" * 32, precision="float32", seed=0, samples=400):
        normal = np.random.default_rng(seed).normal(size=(samples, 4)).astype(np.float32)
        errors = self.element_terms(normal)
        self.bundle = SimpleNamespace(sha256=sha256, path="stand-in-vae")
        self.manifest = SimpleNamespace(columns=("a", "b", "c", "d"))
        self.precision = precision
        self.calibration = SimpleNamespace(
            scores=np.sort(errors.sum(axis=1)),
            element_mean=errors.mean(axis=0),
            element_std=errors.std(axis=0),
        )

    @staticmethod
    def element_terms(x, *, condition=None):
        return np.asarray(x, np.float32) ** 2

    def score(self, x, *, condition=None, strict=True):
        assert not strict
        if np.ndim(x) != 2:
            raise InputError("x has a wrong shape")
        return SimpleNamespace(score=self.element_terms(x).sum(axis=1))


@dataclass
class Part:
    x: Any
    condition: Any = None


@pytest.fixture
def path(tmp_path):
    return tmp_path / "drift.json"


@pytest.fixture(scope="module")
def stream():
    """Quiet for 300 samples; then element b is three times as large."""
    x = np.random.default_rng(1).normal(size=(500, 4)).astype(np.float32)
    x[300:, 1] *= 3
    return x


def monitor(path, vae=None, **options):
    return DriftMonitor(vae or StandIn(), state=path, **options)


def test_a_stream_in_one_process_and_in_many(path, stream, tmp_path):
    expected = monitor(tmp_path / "other.json").update(stream)
    assert expected.alarm and 300 <= expected.alarm_at < 350
    for x in np.split(stream, [1, 2, 100, 310, 311]):
        report = monitor(path).update(x)
    assert report.to_dict() == expected.to_dict()
    assert monitor(path).report().to_dict() == expected.to_dict()
    assert path.read_bytes() == (tmp_path / "other.json").read_bytes()
    assert expected.elements.largest(1)[0]["element"] == "b"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["drift.json", "other.json"]


def test_the_state_is_small_and_does_not_grow(path, stream):
    vae = StandIn(samples=2000)
    one = monitor(path, vae)
    one.update(stream)
    size = path.stat().st_size
    one.update(np.tile(stream, (20, 1)))
    assert size < 70_000 and abs(path.stat().st_size - size) < 100


def test_no_samples_make_no_file(path):
    assert monitor(path).update(np.empty((0, 4))).samples == 0
    assert not path.exists()


def test_options_are_those_of_the_state(path, stream):
    monitor(path, delta=0.2, seed=5).update(stream[:10])
    assert monitor(path).report().delta == 0.2
    assert monitor(path, delta=0.2, seed=5).update(stream[:10]).samples == 20
    for options, message in (
        ({"delta": 0.1}, r"delta is 0.1, .*drift.json was begun with 0.2: leave it out"),
        ({"seed": 6}, r"seed is 6, .*drift.json was begun with 5: leave it out"),
    ):
        with pytest.raises(OptionError, match=message):
            monitor(path, **options)


@pytest.mark.parametrize(
    ("vae", "what"),
    [
        (StandIn(sha256="cd" * 32), "bundle abababababab"),
        (StandIn(precision="int8"), "precision float32"),
        (StandIn(seed=1), "calibration "),
    ],
)
def test_a_state_of_another_bundle(path, stream, vae, what):
    monitor(path).update(stream)
    before = path.read_bytes()
    with pytest.raises(
        InputError, match=rf"drift\.json belongs to {what}.*another state file"
    ) as error:
        monitor(path, vae)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before


def edited(data, **changes):
    """A state with other values and the digest that belongs to them."""
    tree = json.loads(data)
    owner = {name: changes.pop(name) for name in [*changes] if name in tree["owner"]}
    tree = {**tree, **changes, "owner": {**tree["owner"], **owner}, "sha256": ""}
    fields = strict_json.parse(StateFields, tree)
    return json.dumps({**tree, "sha256": state_fields._digest(fields)}).encode()


BAD = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[:-100],
    "a flipped bit": lambda data: data[:700] + bytes([data[700] ^ 1]) + data[701:],
    "an edited count": lambda data: data.replace(b'"alarm_at": null', b'"alarm_at": 3'),
    "no JSON": lambda data: b"\x93NUMPY",
    "another format": lambda data: data.replace(b'"format": 1', b'"format": 2'),
    "too large": lambda data: b" " * (1 << 20) + data,
    "other samples": lambda data: edited(data, samples=51),
    "an alarm to come": lambda data: edited(data, alarm_at=50),
    "a change to come": lambda data: edited(data, since=60),
    "negative shares": lambda data: edited(data, shares=[2.0, -1.0, *[0.0] * 6]),
    "too few shares": lambda data: edited(data, shares=[1.0]),
    "few bins": lambda data: edited(data, histogram=[50]),
    "no base64": lambda data: edited(data, stream="?"),
    "a short array": lambda data: edited(data, stream="AAAAAAAAAAA="),
    "no elements": lambda data: edited(data, element_sums=None),
    "elements that are not finite": lambda data: edited(
        data, element_sums=state_fields._text(np.full(4, np.inf))
    ),
    "counts below 0": lambda data: edited(
        data, stream=state_fields._text(np.array([51, -1, *[0] * 799]))
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_damaged_state_is_refused_by_name(path, stream, fault):
    monitor(path).update(stream[:50])
    bad = BAD[fault](path.read_bytes())
    assert bad != path.read_bytes()
    path.write_bytes(bad)
    with pytest.raises(
        InputError, match=r"drift\.json is no state .*restore a copy, or delete"
    ) as error:
        monitor(path)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == bad


def test_an_edited_promise_is_noticed(path, stream):
    monitor(path).update(stream[:50])
    path.write_bytes(path.read_bytes().replace(b'"delta": 0.01', b'"delta": 0.0001'))
    with pytest.raises(InputError, match="its sha256 is not that of its contents"):
        monitor(path)
    monitor(path.with_name("b.json")).update(stream[:50])
    whole = edited(path.with_name("b.json").read_bytes(), samples=50)
    assert parse_state(whole).samples == 50  # so `edited` itself is right


def test_two_monitors_with_one_file(path, stream):
    """The second to save is refused, and the file keeps the state of the first."""
    first, second = monitor(path), monitor(path)
    first.update(stream[:10])
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"drift\.json was changed or removed by another") as error:
        second.update(stream[:20])
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before and second.report().samples == 0
    assert first.update(stream[10:20]).samples == 20
    path.unlink()
    with pytest.raises(InputError, match="was changed or removed by another"):
        first.update(stream)


def _write_often(path, stream, saved):
    """Update until another process has saved; tell how many updates were saved."""
    one, count = monitor(path), 0
    try:
        for x in np.split(stream[:200], 200):
            one.update(x)
            count += 1
    except InputError:
        pass
    saved.put(count)


@pytest.mark.skipif(os.name != "posix", reason="the folder is locked with flock")
def test_processes_that_save_at_once(path, stream):
    """No sample that was saved is forgotten: each save counts those of all saves before it."""
    fork = multiprocessing.get_context("fork")
    saved = fork.Queue()
    children = [fork.Process(target=_write_often, args=(path, stream, saved)) for _ in range(3)]
    for child in children:
        child.start()
    counts = [saved.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert monitor(path).report().samples == sum(counts) >= 200


def test_a_state_that_cannot_be_saved_changes_nothing(path, stream, monkeypatch):
    one = monitor(path)
    one.update(stream[:10])
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"No space.*drift\.json"):
        patch.setattr(os, "fsync", fail)
        one.update(stream[10:])
    assert path.read_bytes() == before
    assert one.report().samples == 10
    assert one.update(stream[10:]).samples == 500


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_kill_at_any_moment(path, stream, moment, tmp_path):
    """The next process goes on after the last saved sample, as if nothing had happened."""
    expected = monitor(tmp_path / "whole.json").update(stream)
    monitor(path).update(stream[:100])

    def die():
        kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
        if moment == "fsync":
            os.fsync = kill
        elif moment == "replace":
            os.replace = os.rename = kill
            type(path).replace = kill
        else:
            strict_json.encode = kill
        monitor(path).update(stream[100:])

    child = multiprocessing.get_context("fork").Process(target=die)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    resumed = monitor(path)
    report = resumed.update(stream[resumed.report().samples :])
    assert report.to_dict() == expected.to_dict()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["drift.json", "whole.json"]


def test_parts_are_saved_together_or_not_at_all(path, stream):
    one = monitor(path)
    with pytest.raises(InputError, match="wrong shape"):
        one.update_parts([Part(stream[:300]), Part(stream[300])])
    assert one.report().samples == 0 and not path.exists()
    report = one.update_parts(iter([Part(stream[:300]), Part(stream[300:])]))
    assert report.samples == 500 and path.exists()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OptionError, match="none is not a folder: create it first"):
        monitor(tmp_path / "none" / "drift.json")


def test_a_calibration_without_scores(path):
    vae = StandIn()
    vae.calibration.scores = np.empty(0, np.float32)
    with pytest.raises(BuildVaeError, match="calibrate the bundle"):
        monitor(path, vae)
