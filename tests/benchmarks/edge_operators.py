"""Operators by runtime: small bundles of every kind, checked in every installed runtime.

```sh
python tests/benchmarks/edge_operators.py --keep sweep [--targets opencv,tract] [--kinds lstm]
```

Each kind of `edge_kinds.KINDS`, and both presets, is exported with random weights, written by
`build-vae edge --for NAME` for batches of 1 and 3, and run by its check. Runtimes seldom share an
environment. The folder of `--keep` therefore holds the bundles, and the results of earlier runs:
run the command once in each environment. What it runs again replaces the earlier result.

The Markdown tables of all results are printed; see `edge_tables`. The exit status is 1 if a graph
ran and was wrong.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path += [str(Path(__file__).parent.parent / "support"), str(Path(__file__).parent)]

from edge_kinds import KINDS, write_bundle
from edge_tables import Result, tables
from vae_export import check_edge_forms, edge, require_runtime
from vae_export.edge_forms.targets import ONE, TARGETS
from vae_runtime import BuildVaeError, Bundle, MissingExtraError

PRESETS = ("dense", "conv")
BATCHES = (1, 3)


@dataclass(frozen=True)
class Runtime:
    """A target, and the runtime with its version that stands for it here."""

    target: str
    title: str


def installed(names: Sequence[str]) -> list[Runtime]:
    """Return the runtimes that are installed, and name the others on standard error."""
    found = []
    for name in names:
        try:
            module = require_runtime(name)
        except MissingExtraError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        code = f"from vae_export.edge_forms.check.runtimes import {module} as m; print(m.version())"
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        found.append(Runtime(name, done.stdout.strip().splitlines()[-1]))
    return found


def write_preset(preset: str, path: Path) -> Path:
    """Export a preset with random weights and a score on the embedded digits; return the bundle."""
    from vae_builder import build_models, export_models, load_dataset

    encoder, decoder = build_models(preset, (28, 28, 1), 5, (16, 8), seed=1)
    export_models(encoder, decoder, load_dataset("digits"), path)
    return path


def bundle_of(kind: str, folder: Path) -> Path:
    """Return the bundle of a kind in a folder, and write it if it is not there."""
    path = folder / kind
    if not path.is_dir():
        (write_preset if kind in PRESETS else write_bundle)(kind, path)
    return path


def check(kind: str, bundle: Path, runtime: Runtime, batch: int) -> list[Result]:
    """Write a bundle's graphs for a target and check them there."""
    target = runtime.target
    graphs = [name for name, _ in Bundle(bundle).manifest.graphs.items()]
    graphs = [name for name in graphs if name in TARGETS[target].graphs]
    about = (target, runtime.title, batch)
    with tempfile.TemporaryDirectory() as folder:
        try:
            forms = edge(bundle, Path(folder) / "forms", target=target, batch=batch)
        except BuildVaeError as error:
            return [Result(kind, name, *about, "refused", str(error)) for name in graphs]
        report = check_edge_forms(forms.path, bundle, target)
    found = []
    for name in graphs:
        bad = [d for d in report.differences if d.graph == name and not d.agrees]
        text = ", ".join(f"{d.output} differs by {d.max_absolute:.1e}" for d in bad)
        text = report.failures.get(name, text)
        state = "wrong" if bad else "failed" if text else "right"
        if name in forms.left_out:
            state, text = "refused", forms.left_out[name]
        found.append(Result(kind, name, *about, state, text))
    return found


def read_results(folder: Path) -> dict[tuple[str, ...], Result]:
    """Return the results that a folder holds, by what was run."""
    path = folder / "results.json"
    entries = json.loads(path.read_text("utf-8")) if path.is_file() else []
    return {result.key: result for result in (Result(**entry) for entry in entries)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return 1 if a graph ran and was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="folder of bundles and results")
    parser.add_argument("--targets", default=",".join(TARGETS), help="'' prints the tables only")
    parser.add_argument("--kinds", default=",".join((*PRESETS, *KINDS)))
    options = parser.parse_args(arguments)
    runtimes = installed([name for name in options.targets.split(",") if name])
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results, bundles = read_results(folder), {}
        for kind in options.kinds.split(","):
            bundles[kind] = bundle_of(kind, folder)
            for runtime in runtimes:
                for batch in BATCHES if TARGETS[runtime.target].batch != ONE else BATCHES[:1]:
                    found = check(kind, bundles[kind], runtime, batch)
                    results.update({result.key: result for result in found})
                print(f"{kind} in {runtime.title}: {[r.state for r in found]}", file=sys.stderr)
            if runtimes:
                entries = [asdict(result) for result in results.values()]
                (folder / "results.json").write_text(json.dumps(entries, indent=1), "utf-8")
        print(tables([r for r in results.values() if r.kind in bundles], bundles))
    return int(any(result.state == "wrong" for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
