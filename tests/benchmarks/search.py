"""A search against the default options, on test samples that the search never looks at.

    python tests/benchmarks/search.py [--trials 20] [--timeout 900] [--runs FOLDER] [--preset NAME]

Searches on the embedded digits, then prints the test losses of the trial with the default options
and of the best trial by validation loss, and the time that the search took. The search folder is
kept if you name one; a second call then continues it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from vae_builder import load_best, load_dataset, load_run, search_options
from vae_builder.search.report import trials_table, write_report


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, and print both test losses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--timeout", type=float, help="seconds")
    parser.add_argument("--runs", type=Path, help="search folder to keep")
    parser.add_argument("--preset", help="search this preset only")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        runs = options.runs or Path(temporary) / "runs"
        result = search_options(
            runs,
            load_dataset("digits"),
            {"preset": options.preset},
            trials=options.trials,
            timeout=options.timeout,
        )
        seconds = time.perf_counter() - start
        write_report(result)
        print(trials_table(result))
        default = load_run(runs / "trial-0")
        best = load_best(runs)
        print(f"default options: test loss {default.test.loss:.2f}")
        print(f"{best.search}: test loss {best.test.loss:.2f}")
        print(f"{result.ran} trials in {seconds:.0f} s")


if __name__ == "__main__":
    main()
