"""The README.md beside the edge forms: what each graph takes and gives."""

from __future__ import annotations

from vae_runtime.bundle.fields import Manifest, TensorSpec
from vae_runtime.bundle.variants import FLOAT32

_MEANING = {
    "x": "samples",
    "z": "latent vectors",
    "eps": "noise; zeros for the score at z = z_mean",
    "z_mean": "means of q(z given x)",
    "z_log_var": "logarithms of its variances",
    "logits": "logits of the reconstruction",
    "values": "reconstruction, standardised",
    "reconstruction": "reconstruction",
    "reconstruction_loss": "summed over the elements of a sample",
    "kl_loss": "KL divergence from N(0, I), in nats",
    "loss": "reconstruction_loss + kl_weight * kl_loss",
}


def edge_readme(manifest: Manifest, precision: str, batch: int, sets: int) -> str:
    """Writes the text.

    Args:
        manifest: of the bundle.
        precision: of the graphs.
        batch: samples in one run.
        sets: of test data, for each graph.

    Returns:
        Markdown.
    """
    m = manifest
    parts = [
        f"# {m.name}: edge forms\n\n"
        f"Graphs in {precision} for exactly {batch} sample{'s' if batch > 1 else ''} a run, opset "
        f"{m.graphs.loss.opset}. In each folder: `model.onnx`; `model.ort`, the same in ONNX "
        "Runtime's format, optimised for the CPU; `required_operators.config`, what a minimal "
        f"build of ONNX Runtime must have for it; {sets} `test_data_set_*` with inputs and the "
        "values that TensorFlow computed from them, in the order of the tables.\n",
        "## Preprocessing\n\n" + _preprocessing(m) + "\n",
    ]
    for name in ("encoder", "decoder", "loss"):
        graph = getattr(m.graphs_of(precision), name)
        rows = [f"## {name}\n", "| tensor | dtype | shape | |", "|---|---|---|---|"]
        for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
            rows += [_row(f"{kind}_{i}", t, batch) for i, t in enumerate(tensors)]
        parts.append("\n".join([*rows, ""]))
    parts.append("## Parity\n\n" + _parity(m, precision) + "\n")
    return "\n".join(parts)


def _row(place: str, tensor: TensorSpec, batch: int) -> str:
    shape = ", ".join(map(str, (batch, *tensor.shape[1:])))
    return (
        f"| {place}, `{tensor.name}` | {tensor.dtype} | ({shape}) | "
        f"{_MEANING.get(tensor.name, '')} |"
    )


def _preprocessing(m: Manifest) -> str:
    layout = "height, width, channels" if len(m.input.shape) == 3 else "columns in their order"
    if m.input.dtype == "uint8":
        values = "raw pixels, 0 to 255; the graphs divide by 255"
    elif m.input.range:
        values = f"values from {m.input.range[0]:g} to {m.input.range[1]:g}; divide pixels by 255"
    else:
        values = "any finite values, as in training; divide pixels by 255"
    scaled = "; the graphs standardise" if m.input.standardization else ""
    return f"`x`: {layout}, {m.input.dtype}, {values}{scaled}. Nothing else is to be done."


def _parity(m: Manifest, precision: str) -> str:
    if precision == FLOAT32:
        t = m.tolerances
        allowed = (
            f"tensors differ by at most {t.tensor_atol:g} + {t.tensor_rtol:g} of the value, losses "
            f"by {t.loss_atol:g} + {t.loss_rtol:g} of the value"
        )
    else:
        v = m.variants[precision]
        shares = ", ".join(f"{name} {share:g}" for name, share in v.tolerances.items())
        alone = ", one sample a run: its ranges follow the batch" if v.method == "dynamic" else ""
        allowed = (
            "outputs differ by at most these shares of the output's largest value over the whole "
            "proof (losses: of the value or of the median, whichever is larger)"
            f"{alone}: {shares}"
        )
    return (
        f"A runtime computes what TensorFlow computed if {allowed}. The folders are laid out as "
        "ONNX's own model tests: give one to `onnx_test_runner`, to `onnx.backend.test`, or to "
        "your runtime's tool for them, with these tolerances."
    )
