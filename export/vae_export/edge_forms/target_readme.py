"""The first part of the README.md beside edge forms for a target: how to load them there."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import cleandoc

from vae_export.edge_forms.allowed import LOSS_RTOL, SCORE_RTOL
from vae_export.edge_forms.form import Form
from vae_export.edge_forms.loss_code import loss_arguments, loss_code
from vae_export.edge_forms.proof_data import ProofData
from vae_export.edge_forms.rewriting.registry import REWRITES
from vae_export.edge_forms.script import loading_code, packages
from vae_export.edge_forms.targets import Target
from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.graph_fields import GraphSpec, TensorSpec
from vae_runtime.bundle.scores import SCORE


def target_head(m: Manifest, precision: str, form: Form, graphs: Mapping[str, GraphSpec]) -> str:
    """Return the title, how to check and load a graph, and what was changed, as Markdown."""
    target = form.target
    assert target
    opset = min(target.opset, m.graphs.loss.opset)
    left_out = "".join(f"\n`{name}` is left out. {why}.\n" for name, why in form.left_out.items())
    return f"""# {m.name}: edge forms for {target.title}

Graphs in {precision}, opset {opset}, for {_samples(form)} per run. Each folder holds:

- `model.onnx`: the graph.
- `test_data_set_*`: inputs, and the values that TensorFlow computed from them, in the order of the
  tables below. `allowed_I.npy` is the largest allowed difference from `output_I.pb`.
{left_out}
## Check

```sh
python -m pip install {packages(target)}
python load.py
```

This runs each graph on its test data and compares with TensorFlow's values. The exit status is 1 if
a value is wrong.

## Load
{_notes(target)}
```python
{loading_code(target)}
```

`load.py` holds these functions, so that you can import them:

```python
{_usage(form, graphs)}
```
{_loss_code(m, target)}
## What was changed

The graphs compute the same values as the bundle's own, in other operators:

{_changes(target)}
"""


def target_parity(m: Manifest, data: Mapping[str, ProofData]) -> str:
    """Return when a value is right, as Markdown; `data` holds the test data of each graph."""
    text = (
        "A value is right if it differs from `output_I.pb` by at most `allowed_I.npy`. These are "
        f"the bundle's own tolerances. Of a float32 loss at least {LOSS_RTOL:g} of its value is "
        "allowed, because each runtime sums in its own order."
    )
    if SCORE in data and m.score:
        text += f" Of a score at least {SCORE_RTOL:g} * (1 + |value|) is allowed."
        if data[SCORE].p_value_difference == 0:
            text += (
                " p-values are equal: the test data hold samples whose scores are further from "
                "each calibration score than this."
            )
    return (
        f"{text}\n\nThe folders have the layout of ONNX's own model tests, so that tools for such "
        "tests read them too."
    )


def _usage(form: Form, graphs: Mapping[str, GraphSpec]) -> str:
    """Return lines that run the graph with the most to tell."""
    name, spec = list(graphs.items())[-1]
    size = form.batch or 1
    inputs, outputs = (
        "{" + ", ".join(f'"{t.name}": ({size}, {_sizes(t)})' for t in tensors) + "}"
        for tensors in (spec.inputs, spec.outputs)
    )
    return f"""from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from load import Graph, load

inputs = {inputs}
outputs = {outputs}
run = load(Graph(Path("{name}/model.onnx").resolve(), inputs, outputs), Path(mkdtemp()))
values = {{name: np.zeros(shape, np.{spec.inputs[0].dtype}) for name, shape in inputs.items()}}
print(run(values)["{spec.outputs[0].name}"])"""


def _loss_code(m: Manifest, target: Target) -> str:
    """Return the section about the code of the loss, if it is written."""
    if not target.loss_code:
        return ""
    files = ", ".join(f"`{file}`" for file in loss_code(m))
    arguments = ", ".join(f"`{name}`" for name in loss_arguments(m))
    return f"""
## Loss without a loss graph

{files} hold one function in C, JavaScript and Swift. It computes `reconstruction_loss`, `kl_loss`
and `loss` of one sample, in double precision, at `z` = `z_mean`. It takes {arguments}, in this
order.
"""


def _sizes(tensor: TensorSpec) -> str:
    return ", ".join(map(str, tensor.shape[1:]))


def _samples(form: Form) -> str:
    if form.batch is None:
        return "any number of samples"
    return f"exactly {form.batch} sample{'' if form.batch == 1 else 's'}"


def _notes(target: Target) -> str:
    return "".join(f"\n{note}\n" for note in target.notes)


def _changes(target: Target) -> str:
    return "\n".join(
        f"- {name.replace('_', ' ')}: {_explanation(name)}" for name in target.rewrites
    )


def _explanation(rewrite: str) -> str:
    """Return what the docstring of a rewrite says about runtimes: its last paragraph."""
    text = cleandoc(REWRITES[rewrite].__doc__ or "")
    return " ".join(text.rpartition("\n\n")[2].split())
