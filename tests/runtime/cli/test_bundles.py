"""`inspect` and `pack`."""

import json

from messages import one_line
from vae_runtime import Bundle, manifest_schema


def test_pack_and_the_commands_that_take_the_file(bundle, tmp_path, data, call):
    packed = tmp_path / "small.vae"
    status, out, err = call("pack", bundle, "-o", packed)
    size, digest = packed.stat().st_size, Bundle(packed).sha256
    assert (status, err) == (0, "")
    assert out == f"wrote {packed} ({size / 1e6:.1f} MB), sha256 {digest}\n"
    assert call("verify", packed, "--sha256", digest)[0] == 0
    status, out, _ = call("inspect", packed)
    assert f"sha256      {digest}\npacked from {Bundle(bundle).sha256}\n" in out
    scores = [call("score", path, data)[1] for path in (bundle, packed)]
    assert scores[0] == scores[1] != ""
    for words in (("reconstruct", packed, data), ("sample", packed)):
        assert call(*words, "-o", tmp_path / "a.npz")[0] == 0
    assert call("pack", bundle, "-o", packed, "--saved-models")[0] == 0
    assert packed.stat().st_size > 2 * size


def test_inspect(exported, call):
    status, out, err = call("inspect", exported())
    assert (status, err) == (0, "")
    lines = {line[:12].strip(): line[12:] for line in out.splitlines() if line[0] != " "}
    assert lines["name"] == "small-vae"
    assert lines["input"] == "(8, 8, 1) float32, in [0, 1]"
    assert lines["latent_dim"] == "3"
    assert "loss.onnx" in out and "parity.npz" in out


def test_inspect_prints_the_manifest_and_the_schema(exported, call):
    assert call("inspect", exported(), "--json") == (
        0,
        (exported() / "manifest.json").read_text(),
        "",
    )
    status, out, err = call("inspect", "--schema")
    assert (status, json.loads(out), err) == (0, manifest_schema(), "")


def test_inspect_of_a_damaged_manifest(bundle, call):
    path = bundle / "manifest.json"
    path.write_text(path.read_text().replace('"latent_dim": 3', '"latent_dim": "3"'))
    status, _, err = call("inspect", bundle)
    assert status == 3 and "latent_dim: Expected int, got str" in one_line(err)
