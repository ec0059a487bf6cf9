"""Losses and scores of a bundle in every installed runtime, compared with TensorFlow's.

```sh
python tests/benchmarks/everywhere.py [BUNDLE ...] [--node-modules FOLDER] [--browser PROGRAM]
```

By default, both presets are trained on the embedded digits for a few epochs. In an untrained model
the summands of kl_loss cancel and leave few digits to compare. Each runtime runs the loss graph and
the score graph on the bundle's parity inputs, all at once and each alone. The table shows the
largest difference from TensorFlow's values in the bundle: of the parts of the loss relative to the
value, of the score relative to 1 + |value|, of the p-value as it is. A loss agrees within 2e-6 of
its value, a score within 2e-5, or within the bundle's tolerance if that is wider: a kl_loss near 0
does not have six digits in float32. A p-value agrees if it is the rank of a score that agrees. The
exit status is 1 if a runtime differs by more or fails. Runtimes that are not installed are named.

Runtimes such as OpenCV and ncnn run graphs that `build-vae edge --for NAME` writes for them.
LiteRT models are converted from the SavedModels, which TensorFlow opens: use bundles you trust.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers.edge import EDGE_PEERS
from peers.runtime import (
    DECISION_NAMES,
    LOSS_NAMES,
    Arrays,
    NotAvailableError,
    Peer,
    batches,
    graph_spec,
)
from peers.runtimes import PEERS
from peers.web import peers as web_peers
from vae_export.edge_forms.allowed import LOSS_RTOL, SCORE_RTOL, allowed_elsewhere
from vae_export.edge_forms.check.check import counted_p_values
from vae_runtime import Bundle
from vae_runtime.bundle.scores import P_VALUE, SCORE
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.decision.calibration import read_calibration
from vae_runtime.proof.parity import compare_p_values
from vae_runtime.proof.reference import read_reference

EPOCHS = 5
COLUMNS = {"loss": ("reconstruction", "kl", "loss"), "score": ("score", "p_value")}
"""Columns of the table for each graph."""

Allowed = Callable[[NDArray[np.float64]], Any]
"""Returns the allowed difference of each of TensorFlow's values."""


@dataclass(frozen=True)
class Difference:
    """Difference of one output from TensorFlow's, over all batches.

    Attributes:
        relative: largest difference, relative to the value; see the head of this file.
        agrees: whether every value is within what is allowed.
        usual: what is allowed of a value that is not near 0.
    """

    relative: float
    agrees: bool
    usual: float = LOSS_RTOL

    def __str__(self) -> str:
        """Return the table cell, with a star if only the bundle's tolerance allows it."""
        if not self.agrees:
            return f"**{self.relative:.1e}**"
        return f"{self.relative:.1e}" + ("" if self.relative <= self.usual else " *")


@dataclass(frozen=True)
class Row:
    """Result of one runtime.

    Attributes:
        peer: the runtime.
        version: its version.
        differences: for each model, those of `COLUMNS`; None for graphs that it cannot run.
        error: error message, if the runtime failed.
        missing: reason why it did not run, or the command that installs it.
    """

    peer: Peer
    version: str = ""
    differences: tuple[tuple[Difference | None, ...], ...] = ()
    error: str = ""
    missing: str = ""

    @property
    def failed(self) -> bool:
        """Whether the runtime must agree with TensorFlow but does not."""
        agrees = all(part.agrees for model in self.differences for part in model if part)
        return self.peer.must_agree and (bool(self.error) or not agrees)


def difference(
    found: Iterable[np.ndarray],
    reference: Iterable[np.ndarray],
    allowed: Allowed,
    *,
    usual: float = LOSS_RTOL,
    offset: float = 0.0,
) -> Difference:
    """Compare one output, batch by batch, relative to `offset` + |value|.

    A wrong shape raises ValueError.
    """
    relative, agrees = 0.0, True
    for value, expected in zip(found, reference, strict=True):
        if value.shape != expected.shape:
            raise ValueError(f"an output has shape {value.shape}, expected {expected.shape}")
        wide = expected.astype(np.float64)
        absolute = np.abs(value.astype(np.float64) - wide)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(absolute == 0, 0, absolute / (offset + np.abs(wide)))
        relative = float(np.maximum(relative, ratios.max()))  # NaN stays NaN
        agrees = agrees and bool((absolute <= allowed(wide)).all())
    return Difference(relative, agrees, usual)


def compare(peer: Peer, bundles: Sequence[Bundle]) -> Row:
    """Run one runtime on the parity inputs of each bundle."""
    version, differences = "", []
    for bundle in bundles:
        reference, parts = read_reference(bundle), []
        for graph, columns in _graphs(bundle).items():
            if graph not in peer.graphs:
                parts += [None] * len(columns)
                continue
            names = [tensor.name for tensor in graph_spec(bundle, graph).inputs]
            try:
                inputs = batches({name: reference[name] for name in names})
                version, found = peer.run(bundle, graph, inputs)
            except NotAvailableError as error:
                return Row(peer, missing=str(error))
            except Exception as error:  # the other runtimes still run
                return Row(peer, error=f"{type(error).__name__}: {error}")
            compared = compare_losses if graph == "loss" else compare_scores
            parts += compared(bundle, found, reference)
        differences.append(tuple(parts))
    return Row(peer, version, tuple(differences))


def compare_losses(bundle: Bundle, found: Sequence[Arrays], reference: Arrays) -> list[Difference]:
    """Compare the three parts of the loss."""
    expected = batches({name: reference[name] for name in LOSS_NAMES})
    return [
        difference(
            [batch[name] for batch in found],
            [batch[name] for batch in expected],
            partial(allowed_elsewhere, bundle.manifest, FLOAT32, name),
        )
        for name in LOSS_NAMES
    ]


def compare_scores(bundle: Bundle, found: Sequence[Arrays], reference: Arrays) -> list[Difference]:
    """Compare the score, and the p-values of all samples at once and of each alone."""
    allowed = partial(allowed_elsewhere, bundle.manifest, FLOAT32)
    expected = batches({SCORE: reference[SCORE]})
    score = difference(
        [batch[SCORE] for batch in found],
        [batch[SCORE] for batch in expected],
        partial(allowed, SCORE),
        usual=SCORE_RTOL,
        offset=1.0,
    )
    calibration = read_calibration(bundle, FLOAT32)
    together, *alone = found
    each = {name: np.concatenate([batch[name] for batch in alone]) for name in DECISION_NAMES}
    counted = [
        compare_p_values(
            {**outputs, P_VALUE: counted_p_values(outputs[P_VALUE], len(calibration.scores))},
            reference,
            calibration,
            allowed,
        )
        for outputs in (together, each)
    ]
    p_value = Difference(
        max(part.max_absolute for part in counted), all(part.agrees for part in counted), 1.0
    )
    return [score, p_value]


def _graphs(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """Return the columns of each graph that the bundle has."""
    names = dict(bundle.manifest.graphs.items())
    return {graph: columns for graph, columns in COLUMNS.items() if graph in names}


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Return a Markdown table of the runtimes that ran, with notes on marks and missing runtimes.

    `columns` are the heads of the columns, in the order of `Row.differences`.
    """
    ran = [row for row in rows if row.differences]
    head = ["runtime", *columns, "needed option"]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in ran:
        cells = [str(part or "-") for model in row.differences for part in model]
        option = row.peer.option if row.peer.must_agree else "shown for comparison"
        lines.append(_line([f"{row.peer.name} ({row.version})", *cells, option]))
    lines.append("")
    cells = [part for row in ran for model in row.differences for part in model if part]
    if any(part.agrees and part.relative > part.usual for part in cells):
        lines.append("`*` more than usual of a value near 0, within the bundle's tolerance")
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
        columns = [
            f"{bundle.manifest.name}: {column}"
            for bundle in bundles
            for own in _graphs(bundle).values()
            for column in own
        ]
    print(table(rows, columns))
    return int(any(row.failed for row in rows))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
