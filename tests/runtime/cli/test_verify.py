"""`verify` on bundles that are whole, changed, pinned or run elsewhere."""

import json

import numpy as np
import pytest

from messages import one_line
from sealing import seal, tamper
from vae_runtime import Bundle, load


def test_verify(exported, call):
    status, out, err = call("verify", exported())
    assert (status, err) == (0, "")
    assert out == f"{load(exported()).verify()}\n"
    assert out.splitlines()[-1] == "small-vae: 13 samples on cpu: PASSED"


def test_verify_as_json(exported, call):
    status, out, err = call("verify", exported(), "--json", "--threads", "1")
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert report["passed"] is True and report["samples"] == 13
    assert {(d["graph"], d["output"]) for d in report["differences"]} >= {
        ("encoder", "z_mean"),
        ("decoder", "logits"),
        ("loss", "loss"),
        ("numpy", "kl_loss"),
    }


@pytest.mark.parametrize("against", ["parity", "saved-model"])
def test_verify_finds_a_bundle_that_was_changed_and_sealed_again(against, bundle, call):
    assert call("verify", bundle, "--against", against)[0] == 0
    tamper(bundle)
    status, out, err = call("verify", bundle, "--against", against)
    assert (status, err) == (1, "")
    assert "DIFFERS" in out and ": FAILED: " in out.splitlines()[-1]


def test_verify_against_saved_model_sees_reference_values_that_were_changed(bundle, call):
    with np.load(bundle / "parity.npz") as arrays:
        changed = {name: arrays[name] for name in arrays}
    changed["z_mean"] = changed["z_mean"] + 1
    from vae_runtime.files.npz import npz_bytes

    seal(bundle, "parity.npz", npz_bytes(changed))
    assert call("verify", bundle)[0] == 1
    assert call("verify", bundle, "--against", "saved-model")[0] == 0


@pytest.mark.parametrize("command", ["verify", "score"])
def test_another_bundle_than_the_one_that_is_pinned(command, bundle, data, call):
    words = (command, bundle, *([data] if command == "score" else []))
    status, out, err = call(*words, "--sha256", "0" * 64)
    assert (status, out) == (3, "")
    assert "this is another bundle than the one that was asked for" in one_line(err)
    assert call(*words, "--sha256", "0")[0] == 3
    assert call(*words, "--sha256", Bundle(bundle).sha256)[0] == 0


def test_provider_that_is_not_there(exported, call):
    status, _, err = call("verify", exported(), "--provider", "nope")
    assert status == 3 and "provider 'nope' is not in this ONNX Runtime" in one_line(err)
    assert call("verify", exported(), "--provider", "nope", "--allow-fallback")[0] == 0
