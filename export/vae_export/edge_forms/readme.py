"""The README.md beside the edge forms: inputs, outputs and tolerances of each graph."""

from __future__ import annotations

from collections.abc import Mapping

from vae_export.edge_forms.form import Form
from vae_export.edge_forms.proof_data import ProofData
from vae_export.edge_forms.target_readme import target_head, target_parity
from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.graph_fields import GraphSpec, TensorSpec
from vae_runtime.bundle.scores import SCORE
from vae_runtime.bundle.variants import FLOAT32

AXES = {
    1: "columns in their order",
    2: "steps, channels",
    3: "height, width, channels",
    4: "depth, height, width, channels",
}
"""Axes of a sample by their number."""

_MEANING = {
    "x": "samples",
    "z": "latent samples",
    "eps": "noise; zeros give the loss at z = z_mean",
    "condition": "condition of each sample",
    "z_mean": "means of q(z given x)",
    "z_log_var": "logarithms of the variances of q(z given x)",
    "logits": "logits of the reconstruction",
    "values": "standardized reconstruction",
    "reconstruction": "reconstruction",
    "log_var": "logarithms of the variances of the elements",
    "reconstruction_loss": "summed over the elements of a sample",
    "kl_loss": "KL divergence from N(0, I), in nats",
    "loss": "reconstruction_loss + kl_weight * kl_loss",
    "score": "anomaly score; larger is more unusual",
    "p_value": "share of normal samples that are at least as unusual",
    "activations": "hidden activations of the encoder, from which the score is computed",
}
_SCORE_NOTE = (
    "The losses are those at z = z_mean. A sample is an alarm if its `p_value` is at most the rate "
    "of false alarms that you allow."
)


def edge_readme(
    manifest: Manifest,
    precision: str,
    form: Form,
    graphs: Mapping[str, GraphSpec],
    data: Mapping[str, ProofData],
) -> str:
    """Return the text as Markdown; `graphs` are what was written, `data` their test data."""
    m = manifest
    parts = [
        target_head(m, precision, form, graphs) if form.target else _head(m, precision, form),
        f"## Preprocessing\n\n{_preprocessing(m)}\n",
    ]
    batch = str(form.batch or "batch")
    for name, graph in graphs.items():
        about = [f"{_SCORE_NOTE}\n"] if name == SCORE else []
        rows = [f"## {name}\n", *about, "| tensor | dtype | shape | meaning |", "|---|---|---|---|"]
        for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
            rows += [_row(f"{kind}_{i}", tensor, batch) for i, tensor in enumerate(tensors)]
        parts.append("\n".join([*rows, ""]))
    parity = target_parity(m, data) if form.target else _parity(m, precision, data)
    parts.append(f"## Parity\n\n{parity}\n")
    return "\n".join(parts)


def _head(m: Manifest, precision: str, form: Form) -> str:
    plural = "" if form.batch == 1 else "s"
    return f"""# {m.name}: edge forms

Graphs in {precision}, opset {m.graphs.loss.opset}, for exactly {form.batch} sample{plural} \
per run. Each folder holds:

- `model.onnx`: the graph.
- `model.ort`: the same graph in ONNX Runtime's format, optimized for the CPU.
- `required_operators.config`: the operators that a minimal build of ONNX Runtime needs for it.
- `test_data_set_*`: inputs, and the values that TensorFlow computed from them, in the order of the
  tables below.
"""


def _row(file: str, tensor: TensorSpec, batch: str) -> str:
    shape = ", ".join((batch, *map(str, tensor.shape[1:])))
    return f"| {file}, `{tensor.name}` | {tensor.dtype} | ({shape}) | {_MEANING[tensor.name]} |"


def _preprocessing(m: Manifest) -> str:
    axes = AXES.get(len(m.input.shape), "axes as in training")
    if m.input.dtype == "uint8":
        values = "raw pixels from 0 to 255. The graphs divide them by 255"
    elif raw := m.input.raw_range:
        values = f"raw values, of which {raw[0]:g} stands for 0 and {raw[1]:g} for 1"
    elif m.input.range:
        values = f"values from {m.input.range[0]:g} to {m.input.range[1]:g}. Divide pixels by 255"
    else:
        values = "any finite values, as in training. Divide pixels by 255"
    if m.data and m.data.binary_uint8:
        values = values.replace("Divide pixels by 255", "uint8 0 and 1 stand for 0.0 and 1.0")
    scaled = " The graphs standardize the values." if m.input.standardization else ""
    return f"`x`: {axes}; {m.input.dtype}; {values}.{scaled} Nothing else is needed."


def _parity(m: Manifest, precision: str, data: Mapping[str, ProofData]) -> str:
    if precision == FLOAT32:
        t = m.tolerances
        allowed = (
            f"tensors differ by at most {t.tensor_atol:g} + {t.tensor_rtol:g} * |value| and losses "
            f"by at most {t.loss_atol:g} + {t.loss_rtol:g} * |value|."
        )
        if m.input.standardization:
            allowed += (
                f" A reconstruction, in the units of the data, differs by at most {t.tensor_atol:g}"
                f" * scale + {t.tensor_rtol:g} * (|value| + |mean|), with the scale and the mean of"
                " the standardization in the manifest."
            )
    else:
        v, ones = m.variants[precision], "losses and score" if SCORE in data else "losses"
        fractions = ", ".join(f"{name} {value:g}" for name, value in v.tolerances.items())
        allowed = (
            "outputs differ by at most the following fractions of the output's largest value over "
            f"all samples in the bundle's `{m.parity.file}` ({ones}: of the value or the median, "
            f"whichever is larger): {fractions}."
        )
        if v.method == "dynamic":
            allowed += " They hold for one sample per run, because ranges depend on the batch."
    if SCORE in data:
        allowed += " " + _score_parity(m, precision, data[SCORE].p_value_difference)
    return (
        f"A runtime agrees with TensorFlow if {allowed}\n\nThe folders have the layout of ONNX's "
        "own model tests. Give one to `onnx_test_runner`, to `onnx.backend.test`, or to your "
        "runtime's tool for such tests, with these tolerances."
    )


def _score_parity(m: Manifest, precision: str, p_value_difference: float) -> str:
    text = ""
    if precision == FLOAT32 and m.score:
        text = f"The score differs by at most {m.score.tolerance:g} * (1 + |value|). "
    if p_value_difference == 0:
        return (
            f"{text}p-values are equal: the test data of `{SCORE}` hold samples whose scores are "
            "further from each calibration score than this."
        )
    return (
        f"{text}p-values differ by at most {p_value_difference:.3g}, because the score may pass "
        "calibration scores."
    )
