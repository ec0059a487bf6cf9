"""Operators by runtime: small bundles of every kind, checked in every installed runtime.

```sh
python tests/benchmarks/edge_operators.py [--targets opencv,tract] [--kinds lstm,table]
```

Each kind of `edge_kinds.KINDS`, and both presets, is exported with random weights, written by
`build-vae edge --for NAME` with a batch of 1, and run by its check. Two Markdown tables are
printed: kind by runtime, and operator by runtime. The operators are those of the bundle's own
graphs. A cell of the second table is

    right     every graph that has the operator is right there
    N of M    N of the M graphs that have it are right there

So an operator is not to blame for each graph that is wrong, but one that is right in all is proved.
Kinds that fail are listed with their reason. The exit status is 1 if a graph ran and was wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

sys.path.append(str(Path(__file__).parent.parent / "support"))

from edge_kinds import KINDS, write_bundle
from vae_export import check_edge_forms, edge, require_runtime
from vae_export.edge_forms.targets import TARGETS
from vae_runtime import BuildVaeError, Bundle, MissingExtraError

PRESETS = ("dense", "conv")


@dataclass(frozen=True)
class Result:
    """Result of one graph of one kind in one runtime; `error` is empty if it is right."""

    kind: str
    graph: str
    target: str
    error: str
    wrong: bool = False


def write_preset(preset: str, path: Path) -> Path:
    """Export a preset with random weights on the embedded digits; return the bundle's path."""
    from vae_builder import build_models, export_models, load_dataset

    encoder, decoder = build_models(preset, (28, 28, 1), 5, (16, 8), seed=1)
    export_models(encoder, decoder, load_dataset("digits"), path)
    return path


def operators(bundle: Bundle) -> dict[str, set[str]]:
    """Return the operators of each graph of a bundle."""
    return {
        name: {node.op_type for node in onnx.load_from_string(bundle.read(spec.file)).graph.node}
        for name, spec in bundle.manifest.graphs.items()
    }


def check(kind: str, bundle: Path, target: str) -> list[Result]:
    """Write a bundle's graphs for a target and check them there."""
    graphs = [name for name, _ in Bundle(bundle).manifest.graphs.items()]
    graphs = [name for name in graphs if name in TARGETS[target].graphs]
    with tempfile.TemporaryDirectory() as folder:
        try:
            forms = edge(bundle, Path(folder) / "forms", target=target)
            report = check_edge_forms(forms.path, bundle, target)
        except BuildVaeError as error:
            return [Result(kind, name, target, str(error)) for name in graphs]
    found = []
    for name in graphs:
        bad = [d for d in report.differences if d.graph == name and not d.agrees]
        text = ", ".join(f"{d.output} differs by {d.max_absolute:.1e}" for d in bad)
        found.append(Result(kind, name, target, report.failures.get(name, text), bool(bad)))
    return found


def tables(
    results: Sequence[Result], known: dict[str, dict[str, set[str]]], targets: Sequence[str]
) -> str:
    """Return both tables and the list of failures; `known` are the operators by kind and graph."""
    lines = [_line(["kind", *targets]), _line(["---"] * (1 + len(targets)))]
    for kind in known:
        of_kind = [[r for r in results if (r.kind, r.target) == (kind, t)] for t in targets]
        lines.append(_line([kind, *map(_cell, of_kind)]))
    lines += ["", _line(["operator", *targets]), _line(["---"] * (1 + len(targets)))]
    for operator in sorted({o for graphs in known.values() for s in graphs.values() for o in s}):
        having = [r for r in results if operator in known[r.kind][r.graph]]
        lines.append(
            _line([operator, *(_cell([r for r in having if r.target == t]) for t in targets)])
        )
    lines.append("")
    lines += [f"- {r.target}, {r.kind}, {r.graph}: {r.error}" for r in results if r.error]
    return "\n".join(lines)


def _cell(results: Sequence[Result]) -> str:
    right = sum(not r.error for r in results)
    return "right" if results and right == len(results) else f"{right} of {len(results)}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def installed(names: Sequence[str]) -> list[str]:
    """Return the targets whose runtimes are installed, and name the others on standard error."""
    found = []
    for name in names:
        try:
            require_runtime(name)
            found.append(name)
        except MissingExtraError as error:
            print(f"left out: {error}", file=sys.stderr)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return 1 if a graph ran and was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--kinds", default=",".join((*PRESETS, *KINDS)))
    options = parser.parse_args(arguments)
    targets = installed(options.targets.split(","))
    results: list[Result] = []
    known = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds.split(","):
            write = write_preset if kind in PRESETS else write_bundle
            path = write(kind, Path(folder) / kind)
            known[kind] = operators(Bundle(path))
            for target in targets:
                results += check(kind, path, target)
    print(tables(results, known, targets))
    return int(any(result.wrong for result in results))


if __name__ == "__main__":
    sys.exit(main())
