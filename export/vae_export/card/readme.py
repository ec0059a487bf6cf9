"""The model card: the README.md inside a bundle."""

from __future__ import annotations

from collections.abc import Sequence

from vae_export.card.figures import TRAINING, CardFigure
from vae_runtime.bundle.describe import options_as_text
from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.score_section import score_section
from vae_runtime.explained import Explained
from vae_runtime.loss import CLIP_EPSILON

VARIANTS_HEADING = "## Variants"
"""Heading of the last section of a card."""


SCORE_FIGURES_HEADING = "## The anomaly score at export"
"""Heading of the figures of a score. They stay when a device writes the section before anew."""


def model_card(
    manifest: Manifest,
    figures: Sequence[CardFigure],
    explained: Explained | None = None,
    score_figures: Sequence[CardFigure] = (),
) -> str:
    """Return the card as Markdown, with the figures in their order, without the variants."""
    curve = [figure for figure in figures if figure.path == TRAINING]
    others = [figure for figure in figures if figure.path != TRAINING]
    parts = [
        _headline(manifest),
        _loss(manifest),
        *_section("## Training", _training(manifest, explained) + _shown(curve)),
        *_section("## What it does", _shown(others)),
        *([score_section(manifest)] if manifest.score else []),
        *_section(SCORE_FIGURES_HEADING, _shown(score_figures)),
        _usage(manifest),
        _files(manifest),
    ]
    return "\n".join(parts)


def _section(heading: str, paragraphs: list[str]) -> list[str]:
    return [f"{heading}\n", *paragraphs] if paragraphs else []


def _shown(figures: Sequence[CardFigure]) -> list[str]:
    return [f"![{figure.alt}]({figure.path})\n\n{figure.caption}\n" for figure in figures]


def _headline(m: Manifest) -> str:
    return f"""# {m.name}

A variational autoencoder for samples of shape {_shape(m.input.shape)} with {m.latent_dim} latent
dimensions, exported by build-vae as TensorFlow SavedModel and as ONNX. The bundle holds the loss
that TensorFlow computed on {m.parity.samples} fixed inputs. With these values you can check the
results of any runtime.
"""


def _loss(m: Manifest) -> str:
    term = {
        "logits": "binary cross-entropy of the decoder's logits",
        "probabilities": "binary cross-entropy of the decoder's probabilities, clipped to "
        f"[{CLIP_EPSILON:g}, 1 - {CLIP_EPSILON:g}]",
        "values": "squared error",
        "mean_log_var": "negative log-likelihood of a Gaussian whose mean and log variance the "
        "decoder gives for each element",
    }[m.loss.decoder]
    if m.loss.variance:
        term = f"negative log-likelihood of a Gaussian of variance {m.loss.variance:.4g}"
    values = "in [0, 1]" if m.input.range else "of any finite value"
    inputs = f"float32 {values}. Divide uint8 pixels by 255; build-vae's runtime does it for you"
    if m.data and m.data.binary_uint8:
        inputs = f"float32 {values}. uint8 0 and 1, as in training, stand for 0.0 and 1.0"
    if m.input.dtype == "uint8":
        inputs = "raw uint8 pixels. The graphs divide them by 255"
    if raw := m.input.raw_range:
        inputs = (
            f"raw values, float32, from {raw[0]:g} to {raw[1]:g}; uint8 counts as numbers from 0 "
            f"to 255. The graphs compute with `(x - {raw[0]:g}) / {raw[1] - raw[0]:g}`, as the "
            "loss does, and reconstructions are raw values again"
        )
    elif m.input.standardization:
        inputs += (
            ". The graphs standardize them: `(x - mean) / scale`, with the numbers in the "
            "manifest. The loss is computed on standardized values, and reconstructions are raw "
            "values again"
        )
    return f"""## The loss

`loss = reconstruction_loss + {m.loss.kl_weight:g} * kl_loss`, for each sample:

- `reconstruction_loss` is the {term}, summed over the elements.
- `kl_loss` is the KL divergence from N(0, I), summed over the latent dimensions.

The loss of a data set is the mean over its samples.

Inputs are {inputs}.
"""


def _training(m: Manifest, explained: Explained | None) -> list[str]:
    if not (t := m.training):
        return []
    data = f" on {m.data.train} samples of `{m.data.name}`" if m.data else ""
    options = ", ".join(f"{name} `{value}`" for name, value in options_as_text(t.options).items())
    rows = [
        f"| {name} | {losses.reconstruction_loss:.2f} | {losses.kl_loss:.2f} | {losses.loss:.2f} |"
        for name, losses in (("validation", t.validation), ("test", t.test))
    ]
    line = explained.describe(m.loss, "the training mean") if explained else None
    warnings = [t.latents.warning(), explained.warning() if explained else None]
    return [
        f"Trained{data} in {t.seconds:.0f} s. The model has {t.parameters:,} weights. Options: "
        f"{options}.\n",
        f"| mean per sample, {m.loss.unit} | reconstruction_loss | kl_loss | loss |",
        "|---|---|---|---|",
        *rows,
        f"\nOne random z was drawn for each sample, as in training. {t.latents.active_units} of "
        f"{m.latent_dim} latent dimensions are active.\n",
        *([f"Test samples: {line}.\n"] if line else []),
        *(f"**Warning:** {warning}.\n" for warning in warnings if warning),
    ]


def _usage(m: Manifest) -> str:
    shape = _shape(("n", *m.input.shape))
    condition = _condition(m)
    given, feed = (", condition=c", ', "condition": c') if m.condition else ("", "")
    dtypes = "uint8" if m.input.dtype == "uint8" else "uint8 or float32"
    return f"""## Use
{condition}
```python
import vae_runtime                            # pip install "build-vae[cpu]"

vae = vae_runtime.load(".")                   # this folder
print(vae.verify())                           # checks this machine's results against TensorFlow's
losses = vae.loss(x{given})                          # x: {shape}, {dtypes}
images = vae.reconstruct(x{given})
```

With ONNX Runtime only, without build-vae:

```python
import numpy as np, onnxruntime as ort

session = ort.InferenceSession("{m.graphs.loss.file}")
eps = np.zeros((len(x), {", ".join(map(str, m.z_shape))}), np.float32)
reconstruction_loss, kl_loss, loss = session.run(None, {{"x": x, "eps": eps{feed}}})
```
"""


def _condition(m: Manifest) -> str:
    """Return a paragraph about the condition; nothing if there is none."""
    if m.condition is None:
        return ""
    if m.condition.categories is None:
        return f"\nThe model is conditional. `c` are {m.condition.describe()} for each sample.\n"
    return (
        f"\nThe model is conditional. `c` is {m.condition.describe()}. ONNX Runtime takes them as "
        f"one-hot vectors, float32, shape {_shape(('n', *m.condition.shape))}.\n"
    )


def _files(m: Manifest) -> str:
    rows = ""
    for name, graph in m.graphs.items():
        inputs, outputs = (
            ", ".join(f"`{t.name}` {_shape(t.shape)}" for t in tensors)
            for tensors in (graph.inputs, graph.outputs)
        )
        rows += f"| {name} | `{graph.file}` | {inputs} | {outputs} |\n"
    tensors = (
        "`x` is uint8, all other tensors are" if m.input.dtype == "uint8" else "All tensors are"
    )
    return f"""## Files

| graph | file | inputs | outputs |
|---|---|---|---|
{rows}
{tensors} float32. `{m.parity.file}` holds the reference inputs and TensorFlow's values for them.
`manifest.json` describes everything else.
"""


def with_variants(card: str, m: Manifest) -> str:
    """Return a card whose last section shows the variants of the manifest, if there are any."""
    card = card.partition(f"\n{VARIANTS_HEADING}\n")[0]
    if not m.variants:
        return card
    rows = "\n".join(
        f"| {name} | `{name}/` | {v.size / 1e6:.2f} | {v.latency.batch_1_ratio:.2f} | "
        f"{v.latency.batch_256_ratio:.2f} | {v.drift.mean:.3%} | {v.drift.p99:.3%} | "
        f"{v.drift.rank_correlation:.4f} |"
        for name, v in m.variants.items()
    )
    return f"""{card}
{VARIANTS_HEADING}

The same graphs in lower precision, measured on the exporting machine with one thread. Times are
relative to float32. Drift is the relative difference of the loss from float32's.

| precision | files | MB | 1 sample | 256 samples | mean drift | 99th percentile | \
rank correlation |
|---|---|---|---|---|---|---|---|
{rows}

To run a variant, load it with `vae_runtime.load(".", precision=...)`.
"""


def _shape(shape: tuple[int | str, ...]) -> str:
    return str(shape).replace("'", "")
