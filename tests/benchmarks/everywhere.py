"""Losses of one bundle in every installed runtime, compared with TensorFlow's.

```sh
python tests/benchmarks/everywhere.py [BUNDLE ...] [--node-modules FOLDER] [--browser PROGRAM]
```

By default, both presets are trained on the embedded digits for a few epochs. In an untrained model
the summands of kl_loss cancel and leave few digits to compare. Each runtime scores the bundle's
parity inputs, all at once and each alone. The table shows the largest relative difference of each
part of the loss from TensorFlow's values in the bundle. A sample agrees within 2e-6 of its value,
or within the bundle's tolerance if that is wider: a kl_loss near 0 does not have six digits in
float32. The exit status is 1 if a runtime differs by more or fails. Runtimes that are not installed
are named.

Runtimes such as OpenCV and ncnn score graphs that `build-vae edge --for NAME` writes for them.
LiteRT models are converted from the SavedModels, which TensorFlow opens: use bundles you trust.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from peers.edge import EDGE_PEERS
from peers.runtime import LOSS_NAMES, Arrays, NotAvailableError, Peer, batches
from peers.runtimes import PEERS
from peers.web import peers as web_peers
from vae_runtime import Bundle
from vae_runtime.bundle.fields import Tolerances
from vae_runtime.proof.reference import read_reference

RTOL = 2e-6
EPOCHS = 5


@dataclass(frozen=True)
class Difference:
    """Difference of one part of the loss from TensorFlow's, over all batches.

    Attributes:
        relative: largest `|value - reference| / |reference|`.
        agrees: whether every value is within `RTOL` or within the bundle's tolerance.
    """

    relative: float
    agrees: bool

    def __str__(self) -> str:
        """Return the table cell, with a star if only the bundle's tolerance allows it."""
        if not self.agrees:
            return f"**{self.relative:.1e}**"
        return f"{self.relative:.1e}" + ("" if self.relative <= RTOL else " *")


@dataclass(frozen=True)
class Row:
    """Result of one runtime.

    Attributes:
        peer: the runtime.
        version: its version.
        differences: for each model, the parts of the loss in the order of `LOSS_NAMES`.
        error: error message, if the runtime failed.
        missing: reason why it did not run, or the command that installs it.
    """

    peer: Peer
    version: str = ""
    differences: tuple[tuple[Difference, ...], ...] = ()
    error: str = ""
    missing: str = ""

    @property
    def failed(self) -> bool:
        """Whether the runtime must agree with TensorFlow but does not."""
        agrees = all(part.agrees for model in self.differences for part in model)
        return self.peer.must_agree and (bool(self.error) or not agrees)


def difference(
    found: Iterable[np.ndarray], reference: Iterable[np.ndarray], tolerances: Tolerances
) -> Difference:
    """Compare one part of the loss, batch by batch; a wrong shape raises ValueError."""
    relative, agrees = 0.0, True
    for value, expected in zip(found, reference, strict=True):
        if value.shape != expected.shape:
            raise ValueError(f"a loss has shape {value.shape}, expected {expected.shape}")
        size = np.abs(expected.astype(np.float64))
        absolute = np.abs(value.astype(np.float64) - expected)
        allowed = np.maximum(RTOL * size, tolerances.loss_atol + tolerances.loss_rtol * size)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(absolute == 0, 0, absolute / size)
        relative = float(np.maximum(relative, ratios.max()))  # NaN stays NaN
        agrees = agrees and bool((absolute <= allowed).all())
    return Difference(relative, agrees)


def compare(peer: Peer, bundles: Sequence[Bundle]) -> Row:
    """Run one runtime on the parity inputs of each bundle."""
    version, differences = "", []
    for bundle in bundles:
        reference = read_reference(bundle)
        inputs = batches(reference["x"], reference["eps"])
        expected = batches_of(reference)
        try:
            version, found = peer.score(bundle, inputs)
        except NotAvailableError as error:
            return Row(peer, missing=str(error))
        except Exception as error:  # the other runtimes still run
            return Row(peer, error=f"{type(error).__name__}: {error}")
        differences.append(
            tuple(
                difference(
                    [batch[name] for batch in found],
                    [batch[name] for batch in expected],
                    bundle.manifest.tolerances,
                )
                for name in LOSS_NAMES
            )
        )
    return Row(peer, version, tuple(differences))


def batches_of(reference: Arrays) -> list[Arrays]:
    """Return TensorFlow's losses of `batches`: all at once, then each alone."""
    losses = {name: reference[name] for name in LOSS_NAMES}
    count = len(reference["loss"])
    return [
        losses,
        *({name: value[i : i + 1] for name, value in losses.items()} for i in range(count)),
    ]


def table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Return a Markdown table of the runtimes that ran, with notes on marks and missing runtimes.

    `names` are the names of the models, in the order of `Row.differences`.
    """
    ran = [row for row in rows if row.differences]
    parts = [part.removesuffix("_loss") for part in LOSS_NAMES]
    head = ["runtime", *(f"{name}: {part}" for name in names for part in parts), "needed option"]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in ran:
        cells = [str(part) for model in row.differences for part in model]
        option = row.peer.option if row.peer.must_agree else "shown for comparison"
        lines.append(_line([f"{row.peer.name} ({row.version})", *cells, option]))
    lines.append("")
    cells = [part for row in ran for model in row.differences for part in model]
    if any(part.agrees and part.relative > RTOL for part in cells):
        lines.append(f"`*` beyond {RTOL:g} of a value near 0, within the bundle's tolerance")
    lines += [f"skipped: {row.peer.name}: {row.missing}" for row in rows if row.missing]
    lines += [f"FAILED: {row.peer.name}: {row.error}" for row in rows if row.error]
    lines += [f"DIFFERS: {row.peer.name}" for row in ran if row.failed]
    return "\n".join(lines)


def digits_models(folder: Path) -> list[Path]:
    """Train both presets on the embedded digits for a few epochs, and export them."""
    from vae_builder import TrainConfig, export_trained, load_dataset, train

    digits = load_dataset("digits")
    paths = []
    for preset in ("dense", "conv"):
        trained = train(digits, TrainConfig(preset=preset, epochs=EPOCHS))
        paths.append(export_trained(trained, folder / preset).path)
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a runtime differs or fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="*", type=Path)
    parser.add_argument("--node-modules", type=Path, default=Path("node_modules"))
    parser.add_argument("--browser", help="program of a Chromium")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        bundles = [Bundle(path) for path in options.bundle or digits_models(Path(folder))]
        peers = (*PEERS, *EDGE_PEERS, *web_peers(options.node_modules, options.browser))
        rows = [compare(peer, bundles) for peer in peers]
    print(table(rows, [bundle.manifest.name for bundle in bundles]))
    return int(any(row.failed for row in rows))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
