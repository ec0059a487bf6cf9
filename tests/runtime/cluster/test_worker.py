"""Workers of Ray and Dask, which live longer than a job."""

import gc
import warnings
import weakref

import pytest

from vae_runtime import Bundle, InputWarning
from vae_runtime.cluster.job import Job, Reading, Running, installed_versions
from vae_runtime.cluster.worker import Shipped, Worker

pytest.importorskip("pyarrow")


def worker(path, folder):
    bundle = Bundle(path)
    reading = Reading(str(folder))
    job = Job(bundle.sha256, str(folder), reading, Running(8), versions=installed_versions())
    made = Worker(job, Shipped(str(bundle.path), None, bundle.sha256), strict=False)
    assert made.failure is None
    return made


def test_a_worker_of_an_earlier_job_is_not_kept(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    first = weakref.ref(worker(exported(), tmp_path))
    second = worker(exported(), tmp_path)
    gc.collect()
    assert first() is None and second.failure is None


def test_other_warnings_are_shown_as_before(exported, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *rest: shown.append(str(message)))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for _ in range(2):
            worker(exported(), tmp_path)
        warnings.warn("of another library", UserWarning, stacklevel=1)
        warnings.warn("between two parts", InputWarning, stacklevel=1)
    assert shown == ["of another library", "between two parts"]
