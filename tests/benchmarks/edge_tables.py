"""Tables of `edge_operators`: kinds by runtime, operators by runtime, and the failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import ModelProto

from vae_export.edge_forms.rewriting.registry import REWRITES
from vae_export.edge_forms.targets import TARGETS
from vae_export.graphs.convert import one_line
from vae_runtime import Bundle


@dataclass(frozen=True)
class Result:
    """Result of one graph of one kind in one runtime.

    Attributes:
        kind: kind of architecture.
        graph: name of the graph.
        target: name of the target.
        runtime: name and version of the runtime.
        batch: batch size.
        state: `right`; `wrong` if a value is wrong; `refused` by `edge` before anything is written;
            `failed` if the runtime itself gave an error.
        text: why it is not right.
    """

    kind: str
    graph: str
    target: str
    runtime: str
    batch: int
    state: str
    text: str

    @property
    def key(self) -> tuple[str, ...]:
        """What was run."""
        return self.kind, self.graph, self.target, self.runtime, str(self.batch)


def tables(results: Sequence[Result], bundles: Mapping[str, Path]) -> str:
    """Return both tables and the failures as Markdown; `bundles` are the paths by kind."""
    graphs = {kind: _graphs(path) for kind, path in bundles.items()}
    runtimes = sorted({(list(TARGETS).index(r.target), r.target, r.runtime) for r in results})
    titles = [runtime for _, _, runtime in runtimes]
    lines = [_line(["kind", *titles]), _line(["---"] * (1 + len(titles)))]
    for kind in graphs:
        cells = [_cell([r for r in results if (r.kind, r.runtime) == (kind, t)]) for t in titles]
        lines.append(_line([kind, *cells]))
    lines += ["", _line(["operators", *titles]), _line(["---"] * (1 + len(titles)))]
    known = {
        k: {n: {i.op_type for i in m.graph.node} for n, m in g.items()} for k, g in graphs.items()
    }
    letters = dict(zip(REWRITES, "abcdefghijklmnopqrstuvwxyz", strict=False))
    cured = {target: _cured(graphs, target) for _, target, _ in runtimes}
    rows: dict[tuple[str, ...], list[str]] = {}
    for operator in sorted({o for kinds in known.values() for s in kinds.values() for o in s}):
        cells = []
        for _, target, title in runtimes:
            having = [
                r for r in results if r.runtime == title and operator in known[r.kind][r.graph]
            ]
            marks = "".join(sorted(letters[name] for name in cured[target].get(operator, ())))
            cells.append(f"{_cell(having)} {marks}".strip())
        rows.setdefault(tuple(cells), []).append(operator)
    lines += [_line([", ".join(operators), *cells]) for cells, operators in rows.items()]
    used = {name for operators in cured.values() for names in operators.values() for name in names}
    lines += ["", ", ".join(f"{letters[n]} {n.replace('_', ' ')}" for n in REWRITES if n in used)]
    bad = [r for r in results if r.state != "right"]
    lines += [
        "",
        *map(_reason, bad),
    ]
    return "\n".join(lines)


def _reason(result: Result) -> str:
    about = f"{result.runtime}, {result.kind}, {result.graph}, {result.batch}: {result.state}"
    return f"- {about}: {one_line(Exception(result.text))[:200]}"


def _graphs(path: Path) -> dict[str, ModelProto]:
    bundle = Bundle(path)
    items = bundle.manifest.graphs.items()
    return {name: onnx.load_from_string(bundle.read(spec.file)) for name, spec in items}


def _cured(graphs: Mapping[str, Mapping[str, ModelProto]], target: str) -> dict[str, set[str]]:
    """Return the rewrites that replace nodes of an operator, by operator."""
    found: dict[str, set[str]] = {}
    for model in (model for models in graphs.values() for model in models.values()):
        for name in TARGETS[target].rewrites:
            changed = REWRITES[name](model)
            for operator in _replaced(model, changed):
                found.setdefault(operator, set()).add(name)
            model = changed
    return found


def _replaced(before: ModelProto, after: ModelProto) -> set[str]:
    """Return operators whose nodes were replaced by others, or are gone."""
    makers = {node.output[0]: node for node in after.graph.node}
    left = {node.op_type for node in after.graph.node}
    return {
        node.op_type
        for node in before.graph.node
        if node.op_type not in left
        or (node.output[0] in makers and makers[node.output[0]].op_type != node.op_type)
    }


def _cell(results: Sequence[Result]) -> str:
    """Return one word if all results are the same, else how many are right."""
    states = {result.state for result in results}
    if len(states) < 2:
        return states.pop() if states else "-"
    if "wrong" in states:
        return "WRONG"
    right = sum(result.state == "right" for result in results)
    return f"{right} of {len(results)}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
