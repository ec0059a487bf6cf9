import dataclasses
from pathlib import Path

from vae_runtime.bundle.describe import describe
from vae_runtime.bundle.manifest import read_manifest

MANIFEST = read_manifest(
    (Path(__file__).with_name("manifest-1.json")).read_bytes(), "manifest-1.json"
)

TEXT = """\
name        Zwölf Ziffern
created     2026-03-14T15:09:26+00:00, format 1
input       (4, 3, 1) float32, in [0, 1]
latent_dim  2
loss        bce of logits + 0.5 * kl, sum over elements, mean over samples
encoder     x (batch, 4, 3, 1) -> z_mean (batch, 2), z_log_var (batch, 2)  (encoder.onnx, opset 18)
decoder     z (batch, 2) -> logits (batch, 4, 3, 1), reconstruction (batch, 4, 3, 1)  \
(decoder.onnx, opset 18)
loss graph  x (batch, 4, 3, 1), eps (batch, 2) -> reconstruction_loss (batch,), \
kl_loss (batch,), loss (batch,)  (loss.onnx, opset 18)
parity      7 samples, mean loss 9.0000 by TensorFlow
int8        dynamic, 0.0 MB; one sample in 0.50 of float32's time, 256 in 0.40; loss drifts by \
0.25%, rank correlation 0.9995
data        digits: 1000 train, 50 validation, 100 test
training    preset dense, hidden 8,6, epochs 3, batch_size 64, learning_rate 0.002, seed 0; \
331 weights, 1 s
test loss   9.25 = 8.75 reconstruction + 1.00 KL, 2 active units
made with   tensorflow 2.21.0, build-vae 0.1.0
sha256      DIGEST
files       10, 0.2 MB
           0  README.md
       3,643  decoder.onnx
       3,555  encoder.onnx
       7,963  loss.onnx
      11,164  parity.npz
      63,894  saved_model/decoder/saved_model.pb
      74,458  saved_model/encoder/saved_model.pb
       1,000  int8/encoder.onnx
       1,000  int8/decoder.onnx
       1,000  int8/loss.onnx"""


def test_every_fact_has_a_line():
    assert describe(MANIFEST, sha256="DIGEST") == TEXT


def test_unknown_facts_are_left_out():
    unknown = dataclasses.replace(MANIFEST, data=None, training=None)
    names = [line[:12].strip() for line in describe(unknown, sha256="DIGEST").splitlines()]
    assert not {"data", "training", "test loss"} & set(names)
    assert len(names) == len(TEXT.splitlines()) - 3


def test_no_range_means_any_finite_value():
    unbounded = dataclasses.replace(MANIFEST.input, range=None)
    text = describe(dataclasses.replace(MANIFEST, input=unbounded), sha256="DIGEST")
    assert "(4, 3, 1) float32, any finite" in text


def test_a_pack_shows_the_digest_of_its_bundle():
    text = describe(dataclasses.replace(MANIFEST, packed_from="WHOLE"), sha256="DIGEST")
    assert "sha256      DIGEST\npacked from WHOLE\n" in text


def test_at_most_twelve_columns_are_shown():
    def line(count):
        columns = tuple(f"c{i}" for i in range(count))
        data = dataclasses.replace(MANIFEST.data, columns=columns)
        text = describe(dataclasses.replace(MANIFEST, data=data), sha256="DIGEST")
        return next(line for line in text.splitlines() if line.startswith("columns"))

    assert line(2) == "columns     c0, c1"
    assert line(12).endswith(", c10, c11")
    assert line(13).endswith(", c11, ... (13 in all)")
