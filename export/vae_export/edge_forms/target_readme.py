"""The first part of the README.md beside edge forms for a target: how to load them there."""

from __future__ import annotations

from vae_export.edge_forms.form import Form
from vae_export.edge_forms.rewriting.registry import REWRITES
from vae_export.edge_forms.script import loading_code, packages
from vae_export.edge_forms.targets import Target
from vae_runtime.bundle.fields import Manifest


def target_head(m: Manifest, precision: str, form: Form) -> str:
    """Return the title, what was changed, and the code that loads a graph, as Markdown."""
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

`graph.path` is the path of `model.onnx`. `graph.inputs` and `graph.outputs` map the names of the
tensors to their shapes. `folder` is an empty folder.

## What was changed

The graphs compute the same values as the bundle's own, in other operators:

{_changes(target)}
"""


def _samples(form: Form) -> str:
    if form.batch is None:
        return "any number of samples"
    return f"exactly {form.batch} sample{'' if form.batch == 1 else 's'}"


def _notes(target: Target) -> str:
    return "".join(f"\n{note}\n" for note in target.notes)


def _changes(target: Target) -> str:
    return "\n".join(
        f"- `{name}`: {(REWRITES[name].__doc__ or '').partition('.')[0].strip()}."
        for name in target.rewrites
    )
