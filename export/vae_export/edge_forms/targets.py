"""The runtimes that edge forms are written for: one table of what each computes rightly.

What a row says was measured against the values that TensorFlow computed, with the version that it
names; `export/README.md` has a table of the kinds of models that were run. `rewrites` cure what a
runtime refuses or computes wrongly, `refused` says what no rewrite cures. The versions that were
tried stand here only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vae_runtime.bundle.scores import SCORE
from vae_runtime.bundle.variants import FLOAT32

ENCODER, DECODER, LOSS = "encoder", "decoder", "loss"
ALL_GRAPHS = (ENCODER, DECODER, LOSS, SCORE)
FLOAT16, INT8_STATIC, INT8_DYNAMIC = "float16", "int8 static", "int8 dynamic"
ALL_PRECISIONS = (FLOAT32, FLOAT16, INT8_STATIC, INT8_DYNAMIC)

OPEN, FIXED, ONE = "open", "fixed", "one"
"""Batch sizes that a runtime takes: any at each call, one size per graph, or one sample."""


@dataclass(frozen=True)
class Target:
    """A runtime, and the form of a graph that it computes rightly.

    Attributes:
        name: name in `--for NAME`.
        title: name for people, with the version that was tried.
        opset: largest ONNX opset that it takes.
        batch: `open`, `fixed` or `one`.
        rewrites: names of functions in `rewriting.registry.REWRITES`, in the order of their use.
        graphs: graphs that it computes rightly.
        precisions: precisions that it computes rightly: `float32`, `float16`, `int8 static`,
            `int8 dynamic`.
        refused: what it cannot have (a graph, a precision or `open`), with the reason and what to
            do instead.
        packages: what `pip install` needs to run a graph there.
        runtime: module of `check.runtimes` that runs a graph there; by default that of its name.
        notes: what one must know there that is in no error message: sentences for the README.
        fraction: allowed difference, as a fraction of the largest value of an output, of a runtime
            that computes in fixed point; 0 for one that computes in float32.
        loss_code: whether code that computes the loss from the outputs of encoder and decoder is
            written beside the graphs; see `loss_code`.
    """

    name: str
    title: str
    opset: int
    batch: str
    rewrites: tuple[str, ...]
    graphs: tuple[str, ...] = ALL_GRAPHS
    precisions: tuple[str, ...] = ALL_PRECISIONS
    refused: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    runtime: str = ""
    notes: tuple[str, ...] = ()
    fraction: float = 0.0
    loss_code: bool = False


_PORTABLE = (
    "sigmoid_before_reshape",
    "logarithms_apart",
    "sums_over_three_axes",
    "columns_by_reshape",
    "split_with_sizes",
    "means_in_steps",
    "even_pads",
    "pads_in_numbers",
    "pools_over_two_axes",
    "tile_as_concat",
    "outputs_apart",
    "without_value_info",
)
_REVERSED = ("static_shapes", "reversed_by_gather")


def _no_int8(why: str) -> dict[str, str]:
    """Return why a runtime cannot have int8, static or dynamic."""
    return {INT8_STATIC: why, INT8_DYNAMIC: why}


def _float32_only(why: str) -> dict[str, str]:
    """Return why a runtime cannot have lower precisions."""
    return {FLOAT16: why, **_no_int8(why)}


_TARGETS = (
    Target(
        "portable",
        "most runtimes",
        opset=17,
        batch=OPEN,
        packages=("onnxruntime",),
        runtime="onnx_runtime",
        rewrites=(*_PORTABLE, "sigmoid_written_out"),
        precisions=(FLOAT32, FLOAT16),
        refused={
            **_no_int8("no form of int8 is computed rightly by most runtimes: name the runtime"),
        },
    ),
    Target(
        "opencv",
        "OpenCV 5.0.0 and 4.14.0",
        opset=18,
        batch=FIXED,
        rewrites=(*_PORTABLE, *_REVERSED),
        precisions=(FLOAT32, FLOAT16, INT8_STATIC),
        refused={
            OPEN: "OpenCV 4 refuses the sums of an open batch: give a number",
            INT8_DYNAMIC: "OpenCV has no DynamicQuantizeLinear: use float32, or static int8",
        },
        packages=("opencv-python-headless>=4.14",),
        notes=(
            "OpenCV 5 reads a graph with an operator that it does not know as an empty net, "
            "without an exception. Check `net.empty()`.",
            "OpenCV 4 has no vectors. It gives (n, 1) or (1, n) instead of (n,).",
        ),
    ),
    Target(
        "mnn",
        "MNN 3.6.1",
        opset=18,
        batch=OPEN,
        rewrites=_PORTABLE,
        precisions=(FLOAT32, FLOAT16),
        refused=_no_int8(
            "MNN gives wrong or empty outputs for int8 graphs: convert the float32 form with "
            "--weightQuantBits 8"
        ),
        packages=("MNN==3.6.1",),
        notes=(
            "Do not start the program `mnnconvert`: it installs a package by itself. Call "
            "its Python function.",
        ),
    ),
    Target(
        "ncnn",
        "ncnn 1.0.20261020 by pnnx 20261020",
        opset=17,
        batch=ONE,
        rewrites=(*_PORTABLE, "even_pool_pads", "comparisons_by_arithmetic", "static_shapes"),
        precisions=(FLOAT32, FLOAT16),
        refused={
            OPEN: "ncnn drops the batch axis: give 1",
            FIXED: "ncnn gives the first sample only: give a batch of 1",
            **_no_int8("int8 graphs are refused there: use float32 or float16"),
        },
        packages=("ncnn==1.0.20261020", "pnnx==20261020"),
        notes=(
            "Both compute in float16 unless you switch it off: `fp16=0` for pnnx, and the "
            "four options of ncnn.",
            "A score of NaN gives no p-value there: treat it as an alarm.",
        ),
    ),
    Target(
        "tract",
        "tract 0.23.9",
        opset=18,
        batch=OPEN,
        rewrites=("sigmoid_written_out", *_REVERSED, "without_value_info"),
        packages=("tract==0.23.9",),
        notes=(
            "tract's own Sigmoid is never below 4.5e-7. The graphs compute 1 / (1 + "
            "Exp(-x)) instead.",
        ),
    ),
    Target(
        "iree",
        "IREE 3.13",
        opset=17,
        batch=OPEN,
        rewrites=("logarithms_apart", "split_with_sizes", "even_pads", "without_value_info"),
        precisions=(FLOAT32, FLOAT16, INT8_STATIC),
        refused={
            INT8_DYNAMIC: "IREE's decoder differs by 1.4e-2 at 64 samples: quantize statically, or "
            "use float32"
        },
        packages=("iree-base-compiler[onnx]>=3.13,<3.14", "iree-base-runtime>=3.13,<3.14"),
    ),
    Target(
        "tvm",
        "Apache TVM 0.27",
        opset=18,
        batch=OPEN,
        rewrites=("split_with_sizes", "without_value_info"),
        precisions=(FLOAT32, FLOAT16, INT8_STATIC),
        refused={
            INT8_DYNAMIC: "TVM's decoder differs by 1.4e-2 at 64 samples: quantize statically, or "
            "use float32"
        },
        packages=("apache-tvm>=0.27,<0.28",),
    ),
    Target(
        "torch",
        "onnx2torch 1.5.15",
        opset=13,
        batch=OPEN,
        rewrites=(*_PORTABLE, "folded_casts", "flatten_for_reshape"),
        precisions=(FLOAT32, FLOAT16),
        refused=_no_int8("int8 graphs are refused there: use float32 or float16"),
        packages=("onnx2torch==1.5.15",),
        notes=("The module can be exported further, for example to ExecuTorch.",),
    ),
    Target(
        "tinygrad",
        "tinygrad 0.14",
        opset=18,
        batch=FIXED,
        rewrites=("split_with_sizes", *_REVERSED, "without_value_info"),
        refused={OPEN: "tinygrad compiles one batch size: give a number"},
        packages=("tinygrad>=0.14,<0.15",),
        notes=("On a processor, tinygrad starts clang.",),
    ),
    Target(
        "litert",
        "LiteRT by onnx2tf 2.6.9",
        opset=17,
        batch=FIXED,
        rewrites=(*_PORTABLE, "static_shapes"),
        precisions=(FLOAT32,),
        refused={
            OPEN: "onnx2tf needs a fixed batch: give a number",
            FLOAT16: "LiteRT refuses onnx2tf's float16 file: use float32",
            **_no_int8("onnx2tf does not take int8 graphs: use float32"),
        },
        packages=("onnx2tf==2.6.9", "ai-edge-litert"),
        notes=(
            "onnx2tf takes the last axes of an input for channels first unless `-kat` names "
            "the input, and it overwrites the file that it converts: give it a copy.",
            "onnx2tf 2.6.9 needs Python 3.12.",
        ),
    ),
    Target(
        "c",
        "C code by emx-onnx-cgen 1.4.0",
        opset=17,
        batch=FIXED,
        rewrites=("logarithms_apart", "split_with_sizes", "resize_without_roi", "static_shapes"),
        precisions=(FLOAT32, FLOAT16),
        refused={
            OPEN: "its loops need a number of samples, and ConvTranspose writes nothing without: "
            "give a number",
            **_no_int8("int8 differs by 8e-3: use float32"),
        },
        packages=("emx-onnx-cgen==1.4.0",),
        notes=("The code is C99. `load.py` compiles it with gcc.",),
        runtime="c_code",
    ),
    Target(
        "coreml",
        "Core ML by onnx2coreml 1.1 and coremltools 9",
        opset=17,
        batch=FIXED,
        rewrites=(*_PORTABLE, "static_shapes"),
        precisions=(FLOAT32,),
        refused={
            OPEN: "onnx2coreml needs a fixed batch: give a number",
            FLOAT16: "Core ML converts weights itself: use float32",
            **_no_int8("int8 graphs were not tried in Core ML: use float32"),
        },
        packages=("onnx2coreml==1.1.0", "coremltools>=9,<10"),
        notes=(
            "The conversion runs on any system, the model on macOS and iOS only, and "
            "`load.py` with it.",
            'Keep float32 (`compute_precision="fp32"`): in float16, Core ML loses the '
            "logarithms of the loss.",
        ),
        loss_code=True,
    ),
    Target(
        "fpga",
        "FPGAs by hls4ml 1.3",
        opset=13,
        batch=ONE,
        rewrites=("split_as_heads", "without_reconstruction", "static_shapes"),
        graphs=(ENCODER, DECODER),
        precisions=(FLOAT32,),
        refused={
            OPEN: "hls4ml computes one sample: give 1",
            FIXED: "hls4ml computes one sample: give 1",
            LOSS: "hls4ml has no ReduceSum: loss.c computes the loss from the outputs",
            SCORE: "hls4ml has no ReduceSum: compute the score elsewhere",
            **_float32_only("hls4ml chooses precisions itself: use float32"),
        },
        packages=("hls4ml==1.3.0", "qonnx"),
        notes=(
            "hls4ml computes in fixed point: values differ by up to 2 % of the largest one. "
            "`PRECISION` sets the digits.",
        ),
        fraction=2e-2,
        loss_code=True,
    ),
    Target(
        "zk",
        "zero-knowledge proofs by ezkl 23.0.5",
        opset=17,
        batch=FIXED,
        rewrites=(*_PORTABLE, "static_shapes"),
        precisions=(FLOAT32,),
        refused={
            OPEN: "a circuit has a fixed size: give a number",
            **_float32_only("ezkl chooses precisions itself: use float32"),
        },
        packages=("ezkl==23.0.5",),
        notes=(
            "ezkl computes in fixed point: values differ by up to 0.2 % of the largest one. "
            "`SCALE` sets the digits.",
        ),
        fraction=2e-3,
    ),
)

TARGETS: dict[str, Target] = {target.name: target for target in _TARGETS}
"""The targets by name."""
