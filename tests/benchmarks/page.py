"""The page of a bundle in Chromium: its size, time until its proof, decoded points a second.

```sh
python tests/benchmarks/page.py BUNDLE [--node-modules FOLDER] [--browser PROGRAM] [--visits 3]
```

Needs Node, a Chromium, and `npm install --no-save onnxruntime-web@1.30.0 playwright-core`. Each
visit opens the page from disk in a new profile. Times count from the navigation. Then a slider of
the latent space moves at every frame for two seconds, and the points that are shown are counted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from peers.web import BROWSERS
from vae_export import write_page

DRIVER = Path(__file__).parents[1] / "export" / "page" / "browser.mjs"

PROVED = "performance.now()"
MOVE = """
new Promise((done) => {
  const slider = document.querySelector("#latent-sliders input");
  const start = performance.now();
  let shown = 0;
  new MutationObserver(() => shown++).observe(document.querySelector("#latent-decoded"), {
    childList: true,
  });
  const move = () => {
    const seconds = (performance.now() - start) / 1000;
    slider.value = 3 * Math.sin(2 * seconds);
    slider.dispatchEvent(new Event("input"));
    if (seconds < 2) requestAnimationFrame(move);
    else done(shown / seconds);
  };
  move();
})
"""


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each visit and the medians; return 1 if a proof failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--node-modules", type=Path, default=Path("node_modules"))
    parser.add_argument("--browser", default=next(filter(None, map(shutil.which, BROWSERS)), None))
    parser.add_argument("--visits", type=int, default=3)
    options = parser.parse_args(arguments)
    if options.browser is None:
        parser.error("no Chromium: apt-get install chromium, or --browser PROGRAM")
    with tempfile.TemporaryDirectory() as folder:
        page = write_page(options.bundle, Path(folder) / "page.html", ort_web=options.node_modules)
        print(f"page of {page.size / 1e6:.2f} MB")
        visits = visit(page.path, options.node_modules, options.browser, options.visits)
    for verdict, seconds, rate in visits:
        print(f"{verdict}; shown after {seconds:.2f} s; {rate:.0f} decoded points a second")
    seconds, rate = (statistics.median(column) for column in list(zip(*visits, strict=True))[1:])
    print(f"medians: proof after {seconds:.2f} s, {rate:.0f} points a second")
    return 0 if all(verdict.startswith("PASSED") for verdict, *_ in visits) else 1


def visit(page: Path, modules: Path, browser: str, count: int) -> list[tuple[str, float, float]]:
    """Return verdict, seconds until it was shown, and points a second, of each visit."""
    steps: list[list[Any]] = [
        ["wait", "#verdict[data-result]"],
        ["evaluate", PROVED],
        ["text", "#verdict"],
        ["wait", "#latent-decoded figure"],
        ["wait", "body:not(:has([aria-busy=true]))"],
        ["evaluate", MOVE],
    ]
    job = json.dumps({"page": str(page), "steps": steps, "options": {}})
    done = subprocess.run(
        ["node", DRIVER, modules.absolute(), browser],
        input=f"{job}\n" * count,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = []
    for answer in map(json.loads, done.stdout.splitlines()):
        if answer["errors"]:
            raise RuntimeError(answer["errors"][0])
        _, milliseconds, verdict, _, _, rate = answer["results"]
        found.append((verdict, milliseconds / 1000, rate))
    return found


if __name__ == "__main__":
    sys.exit(main())
