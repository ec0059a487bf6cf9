"""TensorFlow's reference values: reading `parity.npz` of a bundle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.graph_fields import TensorSpec
from vae_runtime.bundle.manifest import graph_tensors, proof_name
from vae_runtime.bundle.scores import P_VALUE, SCORE
from vae_runtime.errors import BundleError
from vae_runtime.files.npz import NpzError, read_npz
from vae_runtime.loss import LOSS_NAMES, Losses

Float32 = NDArray[np.float32]


def reference_tensors(manifest: Manifest) -> dict[str, TensorSpec]:
    """Return the arrays in `parity.npz` by name; `batch` in a shape is the number of samples.

    p-values are not among them: they follow from the scores and the calibration.
    """
    m = manifest
    graphs = graph_tensors(m.input, m.z_shape, m.loss, m.condition, m.score)
    return {
        proof_name(graph, tensor.name): tensor
        for graph in ("loss", "encoder", "decoder", SCORE)
        if graph in graphs
        for side in graphs[graph]
        for tensor in side
        if tensor.name != P_VALUE
    }


def read_reference(bundle: Bundle) -> dict[str, Float32]:
    """Read the inputs and TensorFlow's values: the arrays that `reference_tensors` names.

    A `BundleError` is raised if the file is damaged, or if the manifest implies other arrays.
    """
    manifest = bundle.manifest
    expected = {
        name: (tensor.dtype, (manifest.parity.samples, *map(int, tensor.shape[1:])))
        for name, tensor in reference_tensors(manifest).items()
    }
    data = bundle.read(manifest.parity.file)
    try:
        arrays = read_npz(data, expected)
        _check_mean(manifest, arrays)
        return arrays
    except NpzError as error:
        raise BundleError(
            f"{bundle.path / manifest.parity.file}: {error}: the bundle is damaged; export it again"
        ) from None


def _check_mean(manifest: Manifest, arrays: dict[str, Float32]) -> None:
    """Check that the manifest states the means of these arrays: people read the manifest."""
    mean = Losses(*(arrays[name] for name in LOSS_NAMES)).mean()
    for name, found in vars(mean).items():
        stated = getattr(manifest.parity.mean, name)
        if not np.isclose(found, stated, rtol=1e-9, atol=1e-9):
            raise NpzError(f"mean {name} is {found:.9g}, the manifest says {stated:.9g}")
