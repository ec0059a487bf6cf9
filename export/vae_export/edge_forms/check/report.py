"""Result of the check of edge forms in a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vae_runtime.proof.differences import Difference, difference_table


@dataclass(frozen=True)
class EdgeCheck:
    """Result of a check.

    Attributes:
        name: name of the model.
        runtime: name and version of the runtime that ran the graphs.
        samples: number of samples compared.
        batches: batch sizes that were run, without repetitions.
        differences: one entry for each output.
        failures: error messages of graphs that could not be run, by graph.
    """

    name: str
    runtime: str
    samples: int
    batches: tuple[int, ...]
    differences: tuple[Difference, ...]
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every graph ran, and every output agrees."""
        return not self.failures and all(d.agrees for d in self.differences)

    def __str__(self) -> str:
        """Return the result as the table that `verify` prints."""
        sizes = ", ".join(map(str, self.batches))
        verdict = f"{self.name}: {self.samples} samples in {self.runtime}, batches of {sizes}: "
        if self.passed:
            verdict += "PASSED"
        else:
            verdict += (
                "FAILED: these graphs are not computed rightly there; try the version of the "
                "runtime that README.md names, or do not use them"
            )
        failed = [f"{graph:8} FAILED: {error}" for graph, error in self.failures.items()]
        return "\n".join([difference_table(self.differences), *failed, verdict])
