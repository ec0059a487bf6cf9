"""`load`: arguments that are refused, and bundles that are replaced during a load."""

import shutil
import threading
from types import SimpleNamespace

import pytest

import vae_runtime
from vae_runtime import OptionError
from vae_runtime.inference import loading


@pytest.mark.parametrize("option", ["threads", "batch_size"])
@pytest.mark.parametrize("value", [0, -1])
def test_options_below_one_are_refused(exported, option, value):
    with pytest.raises(OptionError, match=f"{option} is {value}, expected 1 or more"):
        vae_runtime.load(exported(), **{option: value})


def test_a_bundle_that_is_replaced_during_the_load_still_loads(exported, tmp_path):
    from vae_export.publish import publishing

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
