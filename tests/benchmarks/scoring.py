"""Time of the loss of a batch, compared with other runtimes and with its matrix products alone.

    python tests/benchmarks/scoring.py [--threads 1,2] [--batch 1,32,256,1024,8192]

The models are 784-512-20-512-784 and the convolutional preset, with random weights: the speed of
the operators does not depend on the values. All take float32 images and return the losses of each
sample, as NumPy arrays. These calls are timed in rounds, and the best time of each counts:

    build-vae    `vae.loss(x)`, as users call it, with all checks
    ort          loss.onnx in ONNX Runtime alone, the whole batch in one call
    products     the model's matrix products or convolutions alone, in ONNX Runtime: the better of
                 the whole batch in one call and of chunks, as build-vae runs them
    tf, xla      the same weights and loss in one `tf.function`, without and with XLA
    openvino     loss.onnx in OpenVINO, in float32
    litert       the same weights and loss in one LiteRT graph with XNNPACK: the better of one that
                 is resized to the batch and one that is converted for it

First, the losses of all are compared with build-vae's. Each number of threads has a separate
process. Runtimes that are not installed are left out (`pip install ".[peers]"`). Run nothing else
on the machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

SHAPE, LATENT = (28, 28, 1), 20
MODELS = {"dense": (512,), "conv": None}
PRODUCT_OPS = ("MatMul", "Gemm", "Conv", "ConvTranspose")
LAYOUT_OPS = ("Reshape", "Transpose", "Split")

PARTS = ("reconstruction_loss", "kl_loss", "loss")
RTOL = 2e-6
"""Largest allowed difference of a part of the loss from build-vae's, relative to the loss."""

BEST_OF = ("products", "litert")
"""Contenders that run in two ways; the faster way counts."""

Call = Callable[[], object]


def models(preset: str) -> tuple[Any, Any]:
    """Return encoder and decoder, always with the same weights."""
    from vae_builder import build_models

    encoder, decoder = build_models(preset, SHAPE, LATENT, MODELS[preset], seed=1)
    rng = np.random.default_rng(0)
    for weight in (*encoder.weights, *decoder.weights):  # tf2onnx drops biases that are zero
        weight.assign(weight + 0.02 * rng.standard_normal(weight.shape).astype(np.float32))
    return encoder, decoder


def export(preset: str, path: Path) -> None:
    """Write the bundle of a preset."""
    from vae_export import export as export_bundle

    samples = np.random.default_rng(0).random((16, *SHAPE), dtype=np.float32)
    export_bundle(*models(preset), samples, path)


def products_alone(path: Path) -> bytes:
    """Return the loss graph without elementwise operators.

    The products follow each other as in the model. The graph returns one column of the last result
    only, so that no large array is copied.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    replacement: dict[str, str] = {}
    kept, last = [], ""
    for node in graph.node:
        sources = [replacement.get(name, name) for name in node.input]
        if node.op_type in (*PRODUCT_OPS, *LAYOUT_OPS):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = sources
            kept.append(copy)
            last = node.output[0] if node.op_type in PRODUCT_OPS else last
        else:
            source = next((s for s in sources if s not in constants and s != "eps"), "eps")
            replacement.update(dict.fromkeys(node.output, source))
    end = next(i for i, node in enumerate(kept) if last in node.output)
    nodes = [
        *kept[: end + 1],
        helper.make_node("Flatten", [last], ["flat"]),
        helper.make_node("Slice", ["flat", "zero", "one", "one"], ["column"]),
    ]
    used = {name for node in nodes for name in node.input}
    graph.initializer.extend(
        numpy_helper.from_array(np.array([value]), name)
        for name, value in (("zero", 0), ("one", 1))
    )
    result = helper.make_graph(
        nodes,
        "products",
        [value for value in graph.input if value.name in used],
        [helper.make_tensor_value_info("column", onnx.TensorProto.FLOAT, ("batch", 1))],
        [tensor for tensor in graph.initializer if tensor.name in used],
    )
    done = helper.make_model(result, opset_imports=model.opset_import, ir_version=8)
    data: bytes = done.SerializeToString()
    return data


def onnx_runtime(model: bytes, threads: int) -> Any:
    """Open a session as the runtime does."""
    from vae_runtime.inference.providers import open_session

    return open_session(
        model, ["CPUExecutionProvider"], threads=threads, allow_fallback=False, where="loss.onnx"
    )


def build_vae(path: Path, threads: int) -> Callable[[np.ndarray], dict[str, Call]]:
    """Return `vae.loss`, the loss graph alone, and both ways of running the products alone."""
    import vae_runtime
    from vae_runtime.inference.parallel import BatchThreadPool, split_batch
    from vae_runtime.inference.tuning import default_batch_size

    vae = vae_runtime.load(path, threads=threads, tuned=False)
    loss = onnx_runtime((path / "loss.onnx").read_bytes(), threads)
    products = {n: onnx_runtime(products_alone(path / "loss.onnx"), n) for n in {1, threads}}
    size = default_batch_size(SHAPE)

    def calls(x: np.ndarray) -> dict[str, Call]:
        eps = np.zeros((len(x), LATENT), np.float32)
        busy = min(threads, len(x))
        pool, parts = BatchThreadPool(busy), [*split_batch(len(x), size, busy)]
        return {
            "build-vae": lambda: vae.loss(x),
            "ort": lambda: loss.run(None, {"x": x, "eps": eps}),
            "products, whole": lambda: products[threads].run(None, {"x": x}),
            "products, parts": lambda: pool.run(
                lambda part: products[1].run(None, {"x": x[part]}), parts
            ),
        }

    return calls


def keras_loss(preset: str) -> Callable[[Any, Any], list[Any]]:
    """Return a traceable function from x and eps to the three parts of the loss."""
    from vae_export.graphs.functions import exported_functions
    from vae_runtime import LossSpec
    from vae_runtime.bundle.graph_fields import InputSpec

    functions = exported_functions(*models(preset), LossSpec(), InputSpec(SHAPE))
    compute = functions["loss"].python_function

    def parts(x: Any, eps: Any) -> list[Any]:
        found = compute(x, eps)
        return [found[name] for name in PARTS]

    return parts


def tensorflow(preset: str, threads: int) -> Callable[[np.ndarray], dict[str, Call]]:
    """Return the traced loss, without and with XLA."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    compute = keras_loss(preset)
    plain, xla = tf.function(compute), tf.function(compute, jit_compile=True)

    def score(function: Any, x: np.ndarray, eps: np.ndarray) -> list[np.ndarray]:
        return [part.numpy() for part in function(tf.constant(x), tf.constant(eps))]

    def calls(x: np.ndarray) -> dict[str, Call]:
        eps = np.zeros((len(x), LATENT), np.float32)
        return {"tf": lambda: score(plain, x, eps), "xla": lambda: score(xla, x, eps)}

    return calls


def openvino(path: Path, threads: int) -> Callable[[np.ndarray], dict[str, Call]]:
    """Return the exported graph in OpenVINO, with all threads on one batch."""
    import openvino as ov

    options = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = ov.Core().compile_model(str(path / "loss.onnx"), "CPU", options)

    def calls(x: np.ndarray) -> dict[str, Call]:
        eps = np.zeros((len(x), LATENT), np.float32)
        return {"openvino": lambda: list(compiled([x, eps]).values())}

    return calls


def litert(preset: str, threads: int) -> Callable[[np.ndarray], dict[str, Call]]:
    """Return the whole loss as one LiteRT graph, converted in two ways.

    Neither way is always faster. For any batch size, the converter keeps operators that compute
    shapes. For a fixed one, it computes the last product twice if it merges max(l, 0) into it.
    """
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    compute = keras_loss(preset)

    def convert(batch: int | None) -> bytes:
        specs = [tf.TensorSpec((batch, *size), name=name) for name, size in sizes.items()]
        traced = tf.function(compute, input_signature=specs).get_concrete_function()
        converted: bytes = tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert()
        return converted

    def call(model: bytes, inputs: dict[str, np.ndarray]) -> Call:
        graph = Interpreter(model_content=model, num_threads=threads)
        places = {detail["name"]: detail["index"] for detail in graph.get_input_details()}
        for name, value in inputs.items():
            graph.resize_tensor_input(places[name], value.shape)
        graph.allocate_tensors()
        results = sorted(graph.get_output_details(), key=lambda detail: detail["name"])

        def score() -> list[np.ndarray]:
            for name, value in inputs.items():
                graph.set_tensor(places[name], value)
            graph.invoke()
            return [graph.get_tensor(detail["index"]) for detail in results]

        return score

    sizes = {"x": SHAPE, "eps": (LATENT,)}
    for_any_batch = convert(None)

    def calls(x: np.ndarray) -> dict[str, Call]:
        inputs = {"x": x, "eps": np.zeros((len(x), LATENT), np.float32)}
        return {
            "litert, resized": call(for_any_batch, inputs),
            "litert, fixed": call(convert(len(x)), inputs),
        }

    return calls


def check_losses(calls: dict[str, Call]) -> None:
    """Check that all calls compute build-vae's losses; raise ValueError otherwise."""
    found = calls["build-vae"]()
    expected = np.stack([getattr(found, name) for name in PARTS])
    for name, call in calls.items():
        if name == "build-vae" or name.startswith("products"):
            continue
        losses = np.stack([np.asarray(part) for part in call()])
        if not (worst := np.abs((losses - expected) / expected[-1]).max()) <= RTOL:
            raise ValueError(f"{name}'s losses differ from build-vae's by {worst:.1e}")


def measure(
    preset: str, path: Path, threads: int, batches: list[int], seconds: float
) -> list[tuple[int, dict[str, float]]]:
    """Return the milliseconds of each contender's best call, by batch."""
    from vae_runtime.benchmark.machine_noise import NoiseMonitor
    from vae_runtime.benchmark.rounds import run_rounds
    from vae_runtime.benchmark.timing import BenchmarkCase, timed_calls

    contenders = []
    makers = {tensorflow: preset, build_vae: path, openvino: path, litert: preset}
    for make, source in makers.items():
        try:
            contenders.append(make(source, threads))
        except ModuleNotFoundError as error:
            print(f"{error.name} is not installed")
    result = []
    for batch in batches:
        x = np.random.default_rng(batch).random((batch, *SHAPE), dtype=np.float32)
        calls = {name: call for contender in contenders for name, call in contender(x).items()}
        check_losses(calls)
        cases = [
            BenchmarkCase(name, batch, threads, None, partial(timed_calls, call))
            for name, call in calls.items()
        ]
        run_rounds(cases, seconds, NoiseMonitor(), lambda _: None)
        best = {case.runtime: 1e3 * min(map(min, case.rounds)) for case in cases}
        for name in BEST_OF:
            if ways := [best.pop(key) for key in list(best) if key.startswith(f"{name}, ")]:
                best[name] = min(ways)
        result.append((batch, best))
    return result


def table(preset: str, threads: int, rows: list[tuple[int, dict[str, float]]]) -> Iterator[str]:
    """Yield the lines of one model: milliseconds, and the ratio to build-vae's time."""
    names = [name for name in rows[0][1] if name != "build-vae"]
    yield f"{preset}, {threads} thread{'s' * (threads > 1)}: ms (and times build-vae's)"
    yield f"{'batch':>6}{'build-vae':>10}" + "".join(f"{name:>17}" for name in names)
    for batch, best in rows:
        mine = best["build-vae"]
        others = "".join(f"{best[name]:>9.3f} ({best[name] / mine:4.2f})" for name in names)
        ratio = f"   build-vae / products {mine / best['products']:.2f}"
        yield f"{batch:>6}{mine:>10.3f}{others}{ratio}"


def main() -> None:
    """Export both models and print a table for each model and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--batch", default="1,32,256,1024,8192")
    parser.add_argument("--seconds", type=float, default=2.0, help="for all rounds of a batch")
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    batches = [int(batch) for batch in options.batch.split(",")]
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for preset in MODELS:
            path = Path(folder, preset)
            with context.Pool(1) as pool:
                pool.apply(export, (preset, path))
            for threads in map(int, options.threads.split(",")):
                with context.Pool(1) as pool:
                    arguments = (preset, path, threads, batches, options.seconds)
                    rows = pool.apply(measure, arguments)
                print(*table(preset, threads, rows), "", sep="\n", flush=True)


if __name__ == "__main__":
    main()
