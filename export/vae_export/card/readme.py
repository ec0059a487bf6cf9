"""The model card: the README.md inside a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vae_export.card.figures import TRAINING, CardFigure
from vae_runtime.bundle.describe import given
from vae_runtime.bundle.fields import Manifest
from vae_runtime.loss import CLIP

VARIANTS = "## Variants"
"""The last section of a card."""


def model_card(manifest: Manifest, figures: Sequence[CardFigure]) -> str:
    """Writes the card.

    Args:
        manifest: what the bundle says of itself.
        figures: those that were drawn, in their order.

    Returns:
        Markdown.
    """
    parts = [
        _headline(manifest),
        _what(manifest),
        _training(manifest, [figure for figure in figures if figure.path == TRAINING]),
        _pictures([figure for figure in figures if figure.path != TRAINING]),
        _usage(manifest),
        _files(manifest),
    ]
    return "\n".join(part for part in parts if part)


def _headline(m: Manifest) -> str:
    return f"""# {m.name}

A variational autoencoder for samples of shape {_shape(m.input.shape)} with {m.latent_dim} latent
dimensions, exported by build-vae: TensorFlow SavedModel and ONNX, with the loss that TensorFlow
computed on {m.parity.samples} fixed inputs, so that any runtime can be held against it.
"""


def _what(m: Manifest) -> str:
    term = {
        "logits": "binary cross-entropy of the decoder's logits, summed over the elements",
        "probabilities": "binary cross-entropy of the decoder's probabilities, clipped to "
        f"[{CLIP:g}, 1 - {CLIP:g}], summed over the elements",
        "values": "squared error, summed over the elements",
    }[m.loss.decoder]
    if m.loss.variance:
        term = (
            f"negative log-likelihood of a Gaussian of variance {m.loss.variance:.4g}, summed over "
            "the elements"
        )
    values = "in [0, 1]" if m.input.range else "of any finite value"
    inputs = f"float32 {values}; uint8 pixels are divided by 255 first"
    if m.input.dtype == "uint8":
        inputs = "raw uint8 pixels; the graphs divide them by 255"
    if m.input.standardization:
        inputs += (
            ". The graphs standardise them, `(x - mean) / scale` with the manifest's numbers; the "
            "loss is that of standardised values, reconstructions are raw again"
        )
    return f"""## The loss

`loss = reconstruction_loss + {m.loss.kl_weight:g} * kl_loss`, per sample: the {term}, plus the KL
divergence from N(0, I), summed over the latent dimensions. The loss of a data set is the mean over
its samples. Inputs are {inputs}.
"""


def _training(m: Manifest, figures: Sequence[CardFigure]) -> str:
    lines = ["## Training", ""]
    if t := m.training:
        data = f" on {m.data.train} samples of `{m.data.name}`" if m.data else ""
        lines += [
            f"Trained{data} in {t.seconds:.0f} s; {t.parameters:,} weights; "
            + ", ".join(f"{name} `{value}`" for name, value in given(t.options).items())
            + ".",
            "",
            f"| mean per sample, {m.loss.unit} | reconstruction_loss | kl_loss | loss |",
            "|---|---|---|---|",
        ]
        for name, losses in (("validation", t.validation), ("test", t.test)):
            lines.append(
                f"| {name} | {losses.reconstruction_loss:.2f} | {losses.kl_loss:.2f} | "
                f"{losses.loss:.2f} |"
            )
        lines += [
            "",
            f"One z was drawn for each sample, as in training. {t.latents.active_units} of "
            f"{m.latent_dim} latent dimensions are active.",
            "",
        ]
        if warning := t.latents.warning():
            lines += [f"**Warning:** {warning}.", ""]
    lines += _shown(figures)
    return "\n".join(lines) if len(lines) > 2 else ""


def _pictures(figures: Sequence[CardFigure]) -> str:
    return "\n".join(["## What it does", "", *_shown(figures)]) if figures else ""


def _shown(figures: Iterable[CardFigure]) -> list[str]:
    return [
        line
        for figure in figures
        for line in (f"![{figure.alt}]({figure.path})", "", figure.caption, "")
    ]


def _usage(m: Manifest) -> str:
    shape = _shape(("n", *m.input.shape))
    return f"""## Use

```python
import vae_runtime                            # pip install "build-vae[cpu]"

vae = vae_runtime.load(".")                   # this folder
print(vae.verify())                           # holds this machine against TensorFlow
losses = vae.loss(x)                          # x: {shape}, uint8 or float32
images = vae.reconstruct(x)
```

Without build-vae, with ONNX Runtime alone:

```python
import numpy as np, onnxruntime as ort

session = ort.InferenceSession("{m.graphs.loss.file}")
eps = np.zeros((len(x), {m.latent_dim}), np.float32)
reconstruction_loss, kl_loss, loss = session.run(None, {{"x": x, "eps": eps}})
```
"""


def _files(m: Manifest) -> str:
    rows = ["## Files", "", "| graph | file | inputs | outputs |", "|---|---|---|---|"]
    for name in ("encoder", "decoder", "loss"):
        graph = getattr(m.graphs, name)
        inputs, outputs = (
            ", ".join(f"`{t.name}` {_shape(t.shape)}" for t in tensors)
            for tensors in (graph.inputs, graph.outputs)
        )
        rows.append(f"| {name} | `{graph.file}` | {inputs} | {outputs} |")
    return "\n".join(
        [
            *rows,
            "",
            f"All tensors are float32. `{m.parity.file}` holds the reference inputs and values, "
            "`manifest.json` everything else.",
            "",
        ]
    )


def with_variants(card: str, m: Manifest) -> str:
    """A card with a last section on the variants, in the place of an earlier one.

    Args:
        card: from `model_card`, or from here.
        m: what the bundle says of itself now.

    Returns:
        Markdown.
    """
    card = card.partition(f"\n{VARIANTS}\n")[0]
    if not m.variants:
        return card
    rows = [
        VARIANTS,
        "",
        "The same graphs in lower precision, measured on the exporting machine (one thread). Time "
        "is a share of float32's; drift is that of the loss against float32.",
        "",
        "| precision | files | MB | 1 sample | 256 samples | mean drift | 99th percentile | rank "
        "correlation |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {name} | `{name}/` | {v.size / 1e6:.2f} | {v.latency.batch_1_ratio:.2f} | "
        f"{v.latency.batch_256_ratio:.2f} | {v.drift.mean:.3%} | {v.drift.p99:.3%} | "
        f"{v.drift.rank_correlation:.4f} |"
        for name, v in m.variants.items()
    ]
    return "\n".join([card, *rows, "", '`vae_runtime.load(".", precision=...)` runs one.', ""])


def _shape(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
