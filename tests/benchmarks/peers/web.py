"""onnxruntime-web: WebAssembly in Node, and in a page of a headless browser.

Python serves the page, the model and the inputs on a local port, starts the browser on it and waits
for the page to send the values back. So no package that drives browsers is needed.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from vae_runtime import Bundle

from .runtime import Arrays, NotAvailableError, Peer, graph_bytes

HERE = Path(__file__).parent / "web"
TIMEOUT = 120
"""Time limit for the page and for Node, in seconds."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TYPES = {".html": "text/html", ".mjs": "text/javascript", ".wasm": "application/wasm"}

# The browser must fetch only the page. Its sandbox does not start for root, as in a container.
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-quic"),
)


class WebError(Exception):
    """The page or the script failed."""


def peers(node_modules: Path, browser: str | None = None) -> tuple[Peer, ...]:
    """Return onnxruntime-web in Node and in a browser.

    `node_modules` is the folder with onnxruntime-web. `browser` is the program of a Chromium, by
    default the first one on the path.
    """
    option = 'none; `executionProviders: ["wasm"]` is its default'
    return (
        Peer("onnxruntime-web, Node", option, partial(in_node, node_modules)),
        Peer("onnxruntime-web, browser", option, partial(in_browser, node_modules, browser)),
    )


def in_node(
    node_modules: Path, bundle: Bundle, graph: str, inputs: list[Arrays]
) -> tuple[str, list[Arrays]]:
    """Run a graph with WebAssembly in Node."""
    version, node = _version(node_modules), _program(("node",), "install Node")
    done = subprocess.run(
        [node, HERE / "node.mjs", node_modules],
        input=_job(bundle, graph, inputs),
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise WebError(done.stderr.decode(errors="replace"))
    return _results(version, json.loads(done.stdout))


def in_browser(
    node_modules: Path, browser: str | None, bundle: Bundle, graph: str, inputs: list[Arrays]
) -> tuple[str, list[Arrays]]:
    """Run a graph with WebAssembly in a page of a headless Chromium."""
    version = _version(node_modules)
    program = browser or _program(BROWSERS, "apt-get install chromium, or --browser PATH")
    routes = {
        "/": HERE / "page.html",
        "/run.mjs": HERE / "run.mjs",
        "/job.json": _job(bundle, graph, inputs),
        "/ort/": node_modules / "onnxruntime-web" / "dist",
    }
    with (
        Server(routes) as server,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
    ):
        # With a separate HOME, the browser writes nothing into the user's.
        started = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", server.url],
            env={**os.environ, "HOME": profile},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            found = server.results.get(timeout=TIMEOUT)
        except queue.Empty:
            raise WebError(f"{program} sent no result within {TIMEOUT} s") from None
        finally:
            started.terminate()
            started.wait()
    return _results(version, found)


class Server(ThreadingHTTPServer):
    """Server of a page and its files; `results` receives what the page sends back.

    `routes` maps each path to bytes, to a file, or, if the path ends in a slash, to a folder.
    """

    def __init__(self, routes: dict[str, bytes | Path]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes = routes
        self.results: queue.Queue[dict[str, Any]] = queue.Queue()
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def file(self, path: str) -> bytes | Path | None:
        """Return the bytes or the file of a path; None if there is none."""
        found = self.routes.get(path)
        if found is None:
            folder, _, name = path.rpartition("/")
            parent = self.routes.get(f"{folder}/")
            found = parent / name if isinstance(parent, Path) else None
        return None if isinstance(found, Path) and not found.is_file() else found

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        found = self.server.file(self.path)
        if found is None:
            self.send_error(404)
            return
        data = found if isinstance(found, bytes) else found.read_bytes()
        suffix = ".json" if isinstance(found, bytes) else found.suffix
        self.send_response(200)
        self.send_header("Content-Type", TYPES.get(suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.server.results.put(json.loads(body))

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _version(node_modules: Path) -> str:
    package = node_modules / "onnxruntime-web" / "package.json"
    if not package.is_file():
        raise NotAvailableError("npm install --no-save onnxruntime-web, or --node-modules PATH")
    version: str = json.loads(package.read_text())["version"]
    return version


def _program(names: tuple[str, ...], install: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    raise NotAvailableError(install)


def _job(bundle: Bundle, graph: str, inputs: list[Arrays]) -> bytes:
    def tensor(value: np.ndarray) -> dict[str, Any]:
        data = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
        return {"type": value.dtype.name, "dims": value.shape, "data": _text(data)}

    model = graph_bytes(bundle, graph)
    batches = [{name: tensor(value) for name, value in batch.items()} for batch in inputs]
    return json.dumps({"model": _text(model), "batches": batches}).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _results(version: str, found: dict[str, Any]) -> tuple[str, list[Arrays]]:
    if "error" in found:
        raise WebError(found["error"])
    batches = [
        {name: np.array(value, np.float32) for name, value in batch.items()}
        for batch in found["batches"]
    ]
    return f"{version}, {found['version']}", batches
