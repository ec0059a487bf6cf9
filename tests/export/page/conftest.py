"""Fixtures for pages: Node and Chromium, where they are installed."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from vae_export.page.assembly import SOURCE

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="session")
def node_modules():
    """Return the folder with npm's packages: BUILD_VAE_NODE_MODULES, or that of the checkout."""
    return Path(os.environ.get("BUILD_VAE_NODE_MODULES", ROOT / "node_modules")).absolute()


@pytest.fixture(scope="session")
def node():
    """Return the program of Node, or skip."""
    return shutil.which("node") or pytest.skip("Node is not installed")


@pytest.fixture(scope="session")
def ort_web(node_modules):
    """Return the folder of onnxruntime-web, or skip."""
    package = node_modules / "onnxruntime-web"
    if not (package / "package.json").is_file():
        pytest.skip("onnxruntime-web is not installed: npm install --no-save onnxruntime-web")
    return package


@dataclass(frozen=True)
class Visit:
    """What a visit of a page gave: the result of each step, requests and errors of the page."""

    results: list
    requests: list[str]
    errors: list[str]


class Jobs:
    """A process of Node that answers jobs, one JSON text a line."""

    def __init__(self, *words):
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self._process as process:  # closes the pipes, and waits
            process.stdin.close()

    def answer(self, job):
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Browser:
    """A Chromium that visits pages from disk; each visit has a profile of its own."""

    def __init__(self, jobs):
        self._jobs = jobs

    def visit(self, page, *steps, errors=(), **options):
        """Open a page, take steps, and return what they gave.

        No request may leave the page, and it may have no errors, unless `errors` is None.
        """
        job = {"page": str(page), "steps": steps, "options": options}
        visit = Visit(**self._jobs.answer(job))
        assert errors is None or visit.errors == list(errors)
        first, *others = visit.requests
        assert first == f"file://{page}"
        assert [url for url in others if not url.startswith(("blob:", "data:"))] == []
        return visit.results


@pytest.fixture(scope="session")
def browser(node, node_modules, ort_web):
    """Return a Chromium that visits pages, or skip."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("Chromium is not installed")
    if not (node_modules / "playwright-core").is_dir():
        pytest.skip("Playwright is not installed: npm install --no-save playwright-core")
    with Jobs(node, HERE / "browser.mjs", node_modules, program) as jobs:
        yield Browser(jobs)


@pytest.fixture(scope="session")
def modules(node, ort_web, tmp_path_factory):
    """Return the page's modules in Node, as `Jobs`, or skip."""
    # Node takes .js files as modules where a package says so; browsers always do.
    source = shutil.copytree(SOURCE, tmp_path_factory.mktemp("page") / "source")
    (source / "package.json").write_text('{"type": "module"}')
    with Jobs(node, HERE / "model.mjs", source, ort_web) as jobs:
        yield jobs
