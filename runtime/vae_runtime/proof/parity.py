"""The parity check: does this runtime compute what TensorFlow computed?

The bundle carries inputs `x` and noise `eps` together with every tensor that TensorFlow computed
from them, out of the SavedModels read back from disk. Each graph is run on TensorFlow's own
inputs of that graph, and each output is held against TensorFlow's:

    encoder   x        -> z_mean, z_log_var
    decoder   z        -> logits or values (not always), reconstruction
    loss      x, eps   -> reconstruction_loss, kl_loss, loss, per sample
    numpy     z and the three losses once more, by NumPy from the encoder's and decoder's outputs

A value agrees if `|value - reference| <= atol + rtol * |reference|` for the tolerances of the
manifest; a variant in lower precision has its own, one for each output, see `variants.allowed`. NaN
never agrees. Where each loss agrees, so does their mean, which is reported.

Graphs run on all samples at once; but where a variant's ranges follow the batch, on one sample at
a time: the outliers of the proof would blur all others, and processors that take a range for each
row would compute something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest, TensorSpec
from vae_runtime.bundle.manifest import decoder_outputs, graph_tensors
from vae_runtime.bundle.npz import NpzError, read_npz
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.data.inputs import to_float
from vae_runtime.data.standardization import standardize
from vae_runtime.errors import BundleError
from vae_runtime.loss import LOSS_NAMES, Losses, draw, numpy_losses

Float32 = NDArray[np.float32]

NEGLIGIBLE = 1e-3
"""References below this share of the largest are left out of the relative difference."""

FAILED = (
    "FAILED: what differs is computed otherwise here than by TensorFlow; try another provider, "
    "update ONNX Runtime, or export the bundle again"
)


class GraphRunner(Protocol):
    """What a parity check needs of a runtime."""

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""

    @property
    def precision(self) -> str:
        """Of the graphs: `float32`, or one of the manifest's variants."""

    @property
    def provider(self) -> str:
        """Short name of the preferred execution provider, such as "cpu"."""

    def run(self, graph: str, inputs: dict[str, Any]) -> dict[str, Float32]:
        """Runs one graph: all of its outputs, by name."""


@dataclass(frozen=True)
class Difference:
    """How far one output is from its reference.

    Attributes:
        graph: `encoder`, `decoder`, `loss`, or `numpy` for what NumPy computed.
        output: name of the tensor.
        max_absolute: largest `|value - reference|`.
        max_relative: largest `|value - reference| / |reference|`, over the references of at least
            a thousandth of the largest: the ratio of two numbers next to 0 says nothing.
        of_tolerance: largest difference as a share of what is allowed; at most 1 agrees.
        agrees: whether every value is within the tolerance.
    """

    graph: str
    output: str
    max_absolute: float
    max_relative: float
    of_tolerance: float
    agrees: bool

    @property
    def is_loss(self) -> bool:
        """Whether the tolerances for losses apply, not those for tensors."""
        return self.output in LOSS_NAMES


@dataclass(frozen=True)
class VerifyReport:
    """The result of a parity check.

    Attributes:
        name: the model.
        precision: of the graphs: `float32`, or a variant's.
        provider: the execution provider that ran, by short name.
        reference: where the reference values come from.
        samples: number of samples compared.
        differences: one entry for each output.
        mean_loss: mean of `loss` over the samples, by this runtime.
        mean_loss_reference: the same, by TensorFlow.
        passed: whether all agree.
    """

    name: str
    precision: str
    provider: str
    reference: str
    samples: int
    differences: tuple[Difference, ...]
    mean_loss: float
    mean_loss_reference: float
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types; numbers that are not finite become None."""

        def plain(value: Any) -> Any:
            if isinstance(value, float) and not np.isfinite(value):
                return None
            if isinstance(value, dict):
                return {key: plain(item) for key, item in value.items()}
            if isinstance(value, list | tuple):
                return [plain(item) for item in value]
            return value

        result: dict[str, Any] = plain(asdict(self))
        return result

    def __str__(self) -> str:
        """The report as a table."""
        header = f"{'graph':8} {'output':20} {'max |diff|':>10} {'max rel.':>10} {'of allowed':>12}"
        rows = [
            f"{d.graph:8} {d.output:20} {d.max_absolute:10.2e} {d.max_relative:10.2e} "
            f"{d.of_tolerance:12.1%}  {'ok' if d.agrees else 'DIFFERS'}"
            for d in self.differences
        ]
        mean = (
            f"mean loss {self.mean_loss:.6f} here, {self.mean_loss_reference:.6f} by "
            f"{self.reference}, difference {self.mean_loss - self.mean_loss_reference:+.1e}"
        )
        variant = "" if self.precision == FLOAT32 else f" in {self.precision}"
        verdict = (
            f"{self.name}{variant}: {self.samples} samples on {self.provider}: "
            f"{'PASSED' if self.passed else FAILED}"
        )
        return "\n".join([header, *rows, mean, verdict])


def reference_tensors(manifest: Manifest) -> dict[str, TensorSpec]:
    """The arrays in `parity.npz` by name; `batch` in their shapes is the number of samples."""
    graphs = graph_tensors(manifest.input, manifest.latent_dim, manifest.loss)
    return {
        tensor.name: tensor
        for inputs, outputs in (graphs["loss"], graphs["encoder"], graphs["decoder"])
        for tensor in (*inputs, *outputs)
    }


def read_reference(bundle: Bundle) -> dict[str, Float32]:
    """Reads the reference inputs and TensorFlow's values from a bundle.

    Returns:
        Arrays by name: x, eps, z_mean, z_log_var, z, logits or values (where there are any),
        reconstruction, reconstruction_loss, kl_loss, loss.

    Raises:
        BundleError: the file is damaged, or its arrays are not those that the manifest implies.
    """
    manifest = bundle.manifest
    where = bundle.path / manifest.parity.file
    data = bundle.read(manifest.parity.file)
    try:
        arrays = read_npz(data, _reference_arrays(manifest))
        _check_mean(manifest, arrays)
        return arrays
    except NpzError as error:
        raise BundleError(f"{where}: {error}: the bundle is damaged; export it again") from None


def _reference_arrays(manifest: Manifest) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Dtypes and shapes of the arrays in `parity.npz`, by name."""
    return {
        name: (tensor.dtype, (manifest.parity.samples, *map(int, tensor.shape[1:])))
        for name, tensor in reference_tensors(manifest).items()
    }


def verify_runtime(
    vae: GraphRunner, reference: dict[str, Float32], source: str | None = None
) -> VerifyReport:
    """Runs the parity check that this module describes.

    Args:
        vae: the runtime under test.
        reference: inputs and TensorFlow's values, as `read_reference` gives them.
        source: where the values come from; the manifest's TensorFlow where left out.

    Returns:
        The differences, and whether all are within the manifest's tolerances.
    """
    manifest = vae.manifest
    values = _run_graphs(vae, reference)
    allowed = partial(manifest.allowed, vae.precision)
    differences = tuple(
        _difference(graph, name, value, reference[name], allowed)
        for graph, outputs in values.items()
        for name, value in outputs.items()
    )
    mean = float(np.mean(values["loss"]["loss"], dtype=np.float64))
    mean_reference = float(np.mean(reference["loss"], dtype=np.float64))
    return VerifyReport(
        name=manifest.name,
        precision=vae.precision,
        provider=vae.provider,
        reference=source or f"TensorFlow {manifest.versions.get('tensorflow', '')}".strip(),
        samples=len(reference["x"]),
        differences=differences,
        mean_loss=mean,
        mean_loss_reference=mean_reference,
        passed=all(d.agrees for d in differences),
    )


def _run_graphs(vae: GraphRunner, ref: dict[str, Float32]) -> dict[str, dict[str, Float32]]:
    variant = vae.manifest.variants.get(vae.precision)
    dynamic = variant is not None and variant.method == "dynamic"
    run = partial(_run_each_alone, vae) if dynamic else vae.run
    encoder = run("encoder", {"x": ref["x"]})
    decoder = run("decoder", {"z": ref["z"]})
    loss = run("loss", {"x": ref["x"], "eps": ref["eps"]})
    return {
        "encoder": encoder,
        "decoder": decoder,
        "loss": loss,
        "numpy": _numpy_values(vae.manifest, ref, {**encoder, **decoder}),
    }


def _run_each_alone(vae: GraphRunner, graph: str, inputs: dict[str, Float32]) -> dict[str, Float32]:
    """Runs a graph on one sample at a time."""
    count = len(next(iter(inputs.values())))
    parts = [
        vae.run(graph, {name: rows[i : i + 1] for name, rows in inputs.items()})
        for i in range(count)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _numpy_values(
    manifest: Manifest, ref: dict[str, Float32], outputs: dict[str, Float32]
) -> dict[str, Any]:
    z_mean, z_log_var = outputs["z_mean"], outputs["z_log_var"]
    decoded = outputs[decoder_outputs(manifest.input, manifest.loss)[0]]
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite differs, and is shown
        x = standardize(np, manifest.input.standardization, to_float(ref["x"]))
        losses = numpy_losses(manifest.loss, x, decoded, z_mean, z_log_var)
        z = draw(np, z_mean, z_log_var, ref["eps"])
    return {"z": z, **vars(losses)}


def _difference(
    graph: str,
    name: str,
    value: Float32,
    reference: Float32,
    allowed: Callable[..., Any],
) -> Difference:
    expected = reference.astype(np.float64)
    if value.shape != expected.shape:
        return Difference(graph, name, np.inf, np.inf, np.inf, False)
    absolute = np.abs(value.astype(np.float64) - expected)
    with np.errstate(divide="ignore", invalid="ignore"):
        large = np.abs(expected) >= NEGLIGIBLE * np.abs(expected).max()
        relative = np.where(large & (absolute > 0), absolute / np.abs(expected), 0)
        limits = allowed(name, expected, is_loss=name in LOSS_NAMES)
        share = np.where(absolute == 0, 0, absolute / limits)
    of_tolerance = float(share.max())
    return Difference(
        graph, name, float(absolute.max()), float(relative.max()), of_tolerance, of_tolerance <= 1
    )


def _check_mean(manifest: Manifest, arrays: dict[str, Float32]) -> None:
    """Checks that the means in the manifest, which people read, are those of the arrays."""
    mean = Losses(*(arrays[name] for name in LOSS_NAMES)).mean()
    for name, found in vars(mean).items():
        stated = getattr(manifest.parity.mean, name)
        if not np.isclose(found, stated, rtol=1e-9, atol=1e-9):
            raise NpzError(f"mean {name} is {found:.9g}, the manifest says {stated:.9g}")
