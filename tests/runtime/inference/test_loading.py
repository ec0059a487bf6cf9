"""`load`: arguments that are refused, and bundles that are replaced during a load."""

import os
import pickle
import shutil
import threading
from types import SimpleNamespace

import pytest

import vae_runtime
from vae_runtime import BundleError, OptionError
from vae_runtime.inference import loading
from vae_runtime.proof.reference import read_reference


@pytest.mark.parametrize("option", ["threads", "batch_size"])
@pytest.mark.parametrize("value", [0, -1])
def test_options_below_one_are_refused(exported, option, value):
    with pytest.raises(OptionError, match=f"{option} is {value}, expected 1 or more"):
        vae_runtime.load(exported(), **{option: value})


def test_a_bundle_that_is_replaced_during_the_load_still_loads(exported, tmp_path):
    from vae_runtime.bundle.publishing import publishing

    target = tmp_path / "small-vae"
    shutil.copytree(exported(), target)
    done = threading.Event()

    def republish():
        other = exported("dense", "bce", kl_weight=0.5)
        for i in range(40):
            with publishing(target, force=True) as folder:
                shutil.copytree((exported(), other)[i % 2], folder, dirs_exist_ok=True)
        done.set()

    exported("dense", "bce", kl_weight=0.5)
    thread = threading.Thread(target=republish)
    thread.start()
    loads = 0
    try:
        while not done.is_set():
            assert vae_runtime.load(target).manifest.loss.kl_weight in (0.5, 1.0)
            loads += 1
    finally:
        thread.join()
    assert loads > 0


def test_a_new_folder_with_a_reused_inode_number_is_noticed(bundle, monkeypatch):
    """A file system may reuse the inode number of a removed folder; the times differ."""
    before = loading._identity(bundle)
    aside = bundle.rename(bundle.with_name("aside"))
    shutil.copytree(aside, bundle)
    real = bundle.stat()
    same = {"st_dev": before[0], "st_ino": before[1]}
    times = {"st_ctime_ns": real.st_ctime_ns, "st_mtime_ns": real.st_mtime_ns}
    monkeypatch.setattr(type(bundle), "stat", lambda *_, **__: SimpleNamespace(**same, **times))
    assert loading._identity(bundle) != before


@pytest.fixture
def elsewhere(bundle, tmp_path, monkeypatch):
    """A function that leaves the folder of the bundle, which is the current folder."""
    monkeypatch.chdir(bundle.parent)
    (tmp_path / "elsewhere").mkdir()
    return lambda: os.chdir(tmp_path / "elsewhere")  # the fixture `monkeypatch` goes back


def test_relative_paths_stay_right_in_another_folder(bundle, elsewhere):
    vae, opened = vae_runtime.load("small-vae", threads=1), vae_runtime.Bundle("small-vae")
    packed = vae_runtime.pack("small-vae", "small.vae")
    single = vae_runtime.load("small.vae", threads=1)
    elsewhere()
    for each in (vae, single, pickle.loads(pickle.dumps(vae)), vae_runtime.load(packed.path)):
        assert each.verify().passed
    opened.check_files()
    assert vae.bundle.path == opened.path == bundle


def test_the_folder_may_change_during_a_check_or_a_measurement(
    with_variant, elsewhere, monkeypatch
):
    monkeypatch.setattr("vae_runtime.benchmark.bench.COLD_STARTS", 1)

    def recompute(bundle):
        elsewhere()
        return read_reference(bundle)

    report = vae_runtime.verify_bundle("small-vae", recompute=recompute, threads=1)
    assert report.passed and len(report.reports) == 2
    os.chdir(with_variant.parent)
    options = {"batches": (1,), "threads": (1,), "precisions": ("float32",), "seconds": 0.05}
    assert vae_runtime.bench("small-vae", on_step=lambda _: elsewhere(), **options).timings


def test_a_relative_path_in_a_deleted_folder_leads_nowhere(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    try:
        (tmp_path / "gone").rmdir()
    except OSError:
        pytest.skip("this system keeps the current folder")
    with pytest.raises(BundleError, match=r"^small-vae does not exist, expected a bundle"):
        vae_runtime.load("small-vae")
