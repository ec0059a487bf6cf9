"""Read and check a manifest: `manifest.json`, strict JSON, format 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from vae_runtime import strict_json
from vae_runtime.bundle.archive import MAX_ENTRIES
from vae_runtime.bundle.fields import (
    FORMAT_VERSION,
    GraphSpec,
    InputSpec,
    Manifest,
    TensorSpec,
)
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.errors import BundleError
from vae_runtime.loss import LOSS_NAMES, LossSpec
from vae_runtime.strict_json import StrictJsonError

FORMAT: Final = "build-vae"
MANIFEST = "manifest.json"


def read_manifest(data: bytes, where: str) -> Manifest:
    """Parses and checks a manifest.

    Args:
        data: the bytes of `manifest.json`.
        where: its path, for messages.

    Returns:
        The manifest, consistent in itself: graphs, shapes and loss agree.

    Raises:
        BundleError: it is not strict JSON, not of this format or version, or contradicts itself.
    """
    try:
        value = strict_json.decode(data)
        _check_version(value, where)
        manifest = strict_json.parse(Manifest, value)
    except StrictJsonError as error:
        raise BundleError(
            f"{where}: {error}: the manifest is damaged or was edited; export the bundle again"
        ) from None
    _check_consistency(manifest, where)
    return manifest


def manifest_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of `manifest.json`."""
    return strict_json.json_schema(Manifest, f"build-vae bundle manifest, format {FORMAT_VERSION}")


def graph_tensors(
    sample: InputSpec, latent_dim: int, loss: LossSpec
) -> dict[str, tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]]:
    """Inputs and outputs of each graph: the one place where their names and shapes stand.

    Args:
        sample: what a sample is.
        latent_dim: length of z.
        loss: which loss.

    Returns:
        For `encoder`, `decoder` and `loss`, the inputs and the outputs.
    """

    def named(shape: tuple[int, ...], *names: str) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(name, "float32", ("batch", *shape)) for name in names)

    x, latent = (TensorSpec("x", sample.dtype, ("batch", *sample.shape)),), (latent_dim,)
    return {
        "encoder": (x, named(latent, "z_mean", "z_log_var")),
        "decoder": (named(latent, "z"), named(sample.shape, *decoder_outputs(sample, loss))),
        "loss": (
            x + named(latent, "eps"),
            named((), *LOSS_NAMES),
        ),
    }


def decoder_outputs(sample: InputSpec, loss: LossSpec) -> tuple[str, ...]:
    """The decoder's outputs: first the one that the loss is computed from."""
    if loss.decoder == "logits":
        return ("logits", "reconstruction")
    return ("values", "reconstruction") if sample.standardization else ("reconstruction",)


def _check_version(value: Any, where: str) -> None:
    version = value.get("format_version") if isinstance(value, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise BundleError(
            f"{where} has format version {version}, this build-vae reads up to {FORMAT_VERSION}: "
            "pip install --upgrade build-vae"
        )


def _check_consistency(manifest: Manifest, where: str) -> None:
    for fault in _faults(manifest):
        raise BundleError(f"{where}: {fault}: the manifest was edited; export the bundle again")


def _faults(m: Manifest) -> Iterator[str]:
    """What a manifest contradicts itself in; what no schema can say."""
    if not m.input.shape:
        yield "input.shape is empty"
    yield from (f"loss.{fault}" for fault in m.loss.faults())
    for precision in m.precisions:
        yield from _graph_faults(m, precision)
    graphs = graph_tensors(m.input, m.latent_dim, m.loss).values()
    outputs = {tensor.name for pair in graphs for side in pair for tensor in side} - {"x", "eps"}
    for name, variant in m.variants.items():
        if variant.tolerances.keys() != outputs:
            yield f"variants.{name}.tolerances is not of {', '.join(sorted(outputs))}"
    for name in ("encoder", "decoder") if m.saved_models else ():
        path = getattr(m.saved_models, name).path
        if f"{path}/saved_model.pb" not in m.files:
            yield f"saved_models.{name}.path {path!r} is not among files"
    if m.parity.file not in m.files:
        yield f"parity.file {m.parity.file!r} is not among files"
    yield from m.input.faults(m.loss)
    if m.data and m.data.columns is not None and (len(m.data.columns),) != m.input.shape:
        yield f"data.columns names {len(m.data.columns)} elements of samples {m.input.shape}"
    if len({name.casefold() for name in m.files} | {MANIFEST}) != len(m.files) + 1:
        yield "files has names that differ in case only, or the manifest itself"
    if len(m.files) >= MAX_ENTRIES:
        yield f"files has {len(m.files)} entries, at most {MAX_ENTRIES - 1} are allowed"


def _graph_faults(m: Manifest, precision: str) -> Iterator[str]:
    where = "graphs" if precision == FLOAT32 else f"variants.{precision}.graphs"
    for name, expected in graph_tensors(m.input, m.latent_dim, m.loss).items():
        graph: GraphSpec = getattr(m.graphs_of(precision), name)
        if (graph.inputs, graph.outputs) != expected:
            yield (
                f"{where}.{name} does not fit input {m.input.shape} {m.input.dtype}, latent_dim "
                f"{m.latent_dim} and loss {m.loss.reconstruction} of {m.loss.decoder}"
            )
        if graph.file not in m.files:
            yield f"{where}.{name}.file {graph.file!r} is not among files"
