"""How ONNX Runtime's quantization tools are called."""

import onnx

from vae_export.variants.lowering import _quantized


def test_the_tools_read_a_complete_file(exported):
    """The tool of ONNX Runtime 1.20 moves the tensors of a ModelProto to a file and loses it."""
    model = onnx.load(exported() / "loss.onnx")
    before = model.SerializeToString(deterministic=True)

    def quantize(source, target, **options):
        read = onnx.load(source, load_external_data=False)
        assert read.SerializeToString(deterministic=True) == before
        onnx.save(read, target)

    assert _quantized(quantize, model).SerializeToString(deterministic=True) == before
