"""Reading and checking of `manifest.json`: strict JSON, formats 1 and 2."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vae_runtime.bundle.fields import FORMAT_VERSION, Manifest
from vae_runtime.bundle.graph_fields import InputSpec, TensorSpec
from vae_runtime.bundle.scores import ACTIVATIONS, P_VALUE, SCORE, ScoreSpec, combined_part
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.data.samples.conditions import ConditionSpec
from vae_runtime.errors import BundleError
from vae_runtime.files import strict_json
from vae_runtime.files.archive import MAX_ENTRIES
from vae_runtime.files.strict_json import StrictJsonError
from vae_runtime.loss import LOSS_NAMES, LossSpec

FORMAT: Final = "build-vae"
MANIFEST_FILE = "manifest.json"
MODEL_CARD = "README.md"
INPUTS = frozenset({"x", "eps", "condition"})
"""Tensors of the proof that are given, not computed."""


def read_manifest(data: bytes, where: str) -> Manifest:
    """Parse a manifest and check that its graphs, shapes, files and loss agree.

    Raises `BundleError`, which names `where`, if the manifest is not strict JSON, has another
    format or version, or contradicts itself.
    """
    try:
        value = strict_json.decode(data)
        version = value.get("format_version") if isinstance(value, dict) else None
        if type(version) is int and version > FORMAT_VERSION:
            raise BundleError(
                f"{where} has format version {version}, this build-vae reads up to "
                f"{FORMAT_VERSION}: pip install --upgrade build-vae"
            )
        manifest = strict_json.parse(Manifest, value)
    except StrictJsonError as error:
        raise BundleError(
            f"{where}: {error}: the manifest is damaged or was edited; export the bundle again"
        ) from None
    for fault in _faults(manifest):
        raise BundleError(f"{where}: {fault}: the manifest was edited; export the bundle again")
    return manifest


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema of `manifest.json`.

    Returns:
        A JSON Schema, draft 2020-12.
    """
    return strict_json.json_schema(Manifest, f"build-vae bundle manifest, format {FORMAT_VERSION}")


def graph_tensors(
    sample: InputSpec,
    latent_shape: tuple[int, ...],
    loss: LossSpec,
    condition: ConditionSpec | None = None,
    score: ScoreSpec | None = None,
) -> dict[str, tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]]:
    """Return the inputs and the outputs of the graphs by name; `score` is there if given.

    This is the only place that defines their names and shapes.
    """

    def named(shape: tuple[int, ...], *names: str) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(name, "float32", ("batch", *shape)) for name in names)

    x = (TensorSpec("x", sample.dtype, ("batch", *sample.shape)),)
    given = named(condition.shape, "condition") if condition else ()
    tensors = {
        "encoder": (x + given, named(latent_shape, "z_mean", "z_log_var")),
        "decoder": (
            named(latent_shape, "z") + given,
            named(sample.shape, *decoder_outputs(sample, loss)),
        ),
        "loss": (x + named(latent_shape, "eps") + given, named((), *LOSS_NAMES)),
    }
    if score:
        outputs = named((), *LOSS_NAMES, SCORE, P_VALUE)
        if score.novelty:
            outputs += named((score.novelty.size,), ACTIVATIONS)
        tensors[SCORE] = x + given, outputs
    return tensors


def proof_name(graph: str, output: str) -> str:
    """Return the name of a graph's output in `parity.npz`.

    The score graph computes the losses at z = z_mean, the loss graph those of the given noise.
    """
    return f"{SCORE}_{output}" if graph == SCORE and output in LOSS_NAMES else output


def decoder_outputs(sample: InputSpec, loss: LossSpec) -> tuple[str, ...]:
    """Return the names of the decoder's outputs; the loss is computed from the first one.

    With two heads it is computed from the first one, the mean, and `log_var`.
    """
    if loss.decoder == "logits":
        return ("logits", "reconstruction")
    # "values" are what the loss takes: probabilities too, if a range restores their units.
    names = ("values", "reconstruction") if sample.standardization else ("reconstruction",)
    return (*names, "log_var") if loss.has_two_heads else names


def loss_input(sample: InputSpec, loss: LossSpec, outputs: Mapping[str, Any]) -> Any:
    """Return what `loss.losses` takes as `output`, from the decoder's outputs by name."""
    first = outputs[decoder_outputs(sample, loss)[0]]
    return {"mean": first, "log_var": outputs["log_var"]} if loss.has_two_heads else first


def _faults(m: Manifest) -> Iterator[str]:
    """Yield the contradictions in a manifest, which a JSON Schema cannot express."""
    if not m.input.shape:
        yield "input.shape is empty"
    yield from (f"loss.{fault}" for fault in m.loss.faults())
    if math.prod(m.z_shape) != m.latent_dim or m.latent_shape == ():
        yield f"latent_shape is {m.latent_shape}, latent_dim is {m.latent_dim}"
    if (condition := m.condition) and condition.categories is not None:
        names = condition.categories
        if condition.shape != (len(names),) or len(set(names)) != len(names):
            yield f"condition.categories has {len(names)} labels, shape is {condition.shape}"
    tensors = graph_tensors(m.input, m.z_shape, m.loss, m.condition, m.score)
    for precision in m.precisions:
        where = "graphs" if precision == FLOAT32 else f"variants.{precision}.graphs"
        graphs = dict(m.graphs_of(precision).items())
        if (SCORE in graphs) != (m.score is not None):
            yield f"{where}.score and score: one of them is missing"
            return
        for name, graph in graphs.items():
            if (graph.inputs, graph.outputs) != tensors[name]:
                yield (
                    f"{where}.{name} does not fit input {m.input.shape} {m.input.dtype}, "
                    f"latent_dim {m.latent_dim} and loss {m.loss.reconstruction} of "
                    f"{m.loss.decoder}"
                )
            if graph.file not in m.files:
                yield f"{where}.{name}.file {graph.file!r} is not among files"
    outputs = {t.name for sides in tensors.values() for side in sides for t in side}
    outputs -= INPUTS | {P_VALUE}
    for name, variant in m.variants.items():
        if variant.tolerances.keys() != outputs:
            yield f"variants.{name}.tolerances has other keys than {', '.join(sorted(outputs))}"
    for name, model in vars(m.saved_models).items() if m.saved_models else ():
        if f"{model.path}/saved_model.pb" not in m.files:
            yield f"saved_models.{name}.path {model.path!r} is not among files"
    if m.parity.file not in m.files:
        yield f"parity.file {m.parity.file!r} is not among files"
    yield from m.input.faults(m.loss)
    if m.score:
        yield from m.score.faults()
        fit = combined_part(m.loss.reconstruction)
        if m.score.name == "combined" and next(iter(m.score.parts), None) != fit:
            yield f"score.parts does not begin with {fit}, which the loss needs"
        if tuple(m.score.calibrations) != m.precisions:
            yield f"score.calibrations are of {', '.join(m.score.calibrations)}"
        for file in m.score.files:
            if file not in m.files:
                yield f"score: {file!r} is not among files"
    if m.prior and m.prior.file not in m.files:
        yield f"prior.file {m.prior.file!r} is not among files"
    if m.data and m.data.columns is not None and (len(m.data.columns),) != m.input.shape:
        yield f"data.columns has {len(m.data.columns)} names for samples of shape {m.input.shape}"
    if m.data and (table := m.data.table):
        yield from (f"data.table: {fault}" for fault in table.faults())
        if (len(table.elements),) != m.input.shape or m.data.columns not in (None, table.elements):
            yield f"data.table has {len(table.elements)} elements, which do not fit data.columns"
    if len({name.casefold() for name in m.files} | {MANIFEST_FILE}) != len(m.files) + 1:
        yield "files has names that differ in case only, or the manifest itself"
    if len(m.files) >= MAX_ENTRIES:
        yield f"files has {len(m.files)} entries, at most {MAX_ENTRIES - 1} are allowed"
