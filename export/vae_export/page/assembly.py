"""Assembly of the page's source and its contents into one HTML text.

The source is plain HTML, CSS and JavaScript modules, which a browser or Node also loads as they
are. A page without a server cannot import files, so the modules become one: each after those that
it imports, without its imports and without the word `export`. Their top-level names differ.

The page's policy (Content Security Policy) allows exactly its own scripts and style, by digest, and
no request. Text of the manifest is data here: the page shows it as text, and were that to fail, a
script in it would not run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

from vae_export.page.contents import Contents

SOURCE = Path(__file__).parent / "source"
START = "main.js"

_IMPORT = re.compile(r'^import \{[^}]*\} from "([^"]+)";\n', re.MULTILINE)
_NAME = re.compile(
    r"^(?:export )?(?:const|let|class|function|async function)\*? (\w+)", re.MULTILINE
)
_PLACE = re.compile(r"<!-- page: (\w+) -->")


class AssemblyError(Exception):
    """The page's source has a mistake; a test assembles it."""


def assemble(contents: Contents) -> str:
    """Return the page as HTML.

    Args:
        contents: what the page carries.

    Returns:
        The text of the page; the same contents give the same text.
    """
    style = (SOURCE / "page.css").read_text("utf-8")
    scripts = (contents.library, join_modules(SOURCE, START))
    parts = {
        "policy": _policy(style, scripts),
        "title": html.escape(contents.title),
        "style": f"<style>{_inline(style, 'style')}</style>",
        "facts": _json_block("facts", contents.facts),
        "blocks": "\n".join(
            f'<script type="application/octet-stream" data-file="{html.escape(block.name)}">'
            f"{block.text}</script>"
            for block in contents.blocks
        ),
        "scripts": "\n".join(
            f'<script type="module">{_inline(script, "script")}</script>' for script in scripts
        ),
    }
    page = (SOURCE / "page.html").read_text("utf-8")
    if sorted(_PLACE.findall(page)) != sorted([*parts, "title"]):
        raise AssemblyError(f"page.html has other places than {', '.join(parts)}")
    return _PLACE.sub(lambda place: parts[place[1]], page)


def join_modules(folder: Path, start: str) -> str:
    """Return a module and all that it imports as one module.

    Args:
        folder: the folder of the source.
        start: path of the module in it.

    Returns:
        One module, without imports.

    Raises:
        AssemblyError: modules import each other in a circle, two have the same top-level name, or
            an import has another form than `import { a, b } from "./module.js";`.
    """
    parts, owners = [], dict[str, str]()
    for path in _ordered(folder, folder / start, ()):
        name = path.relative_to(folder).as_posix()
        code = _IMPORT.sub("", path.read_text("utf-8"))
        if bad := re.search(r"^(?:import\b.*|export (?:default|\{|\*).*)", code, re.MULTILINE):
            raise AssemblyError(f"{name}: {bad[0]!r} cannot be joined")
        for top in _NAME.findall(code):
            if top in owners:
                raise AssemblyError(f"{name} and {owners[top]} both define {top}")
            owners[top] = name
        parts.append(f"// {name}\n{re.sub('^export ', '', code, flags=re.MULTILINE).strip()}\n")
    return "\n".join(parts)


def _ordered(folder: Path, path: Path, above: tuple[Path, ...]) -> list[Path]:
    """Return a module after those that it imports, each once."""
    if path in above:
        raise AssemblyError(f"{path.relative_to(folder)} imports itself in a circle")
    found: dict[Path, None] = {}
    for target in _IMPORT.findall(path.read_text("utf-8")):
        found |= dict.fromkeys(_ordered(folder, (path.parent / target).resolve(), (*above, path)))
    return [*found, path]


def _policy(style: str, scripts: tuple[str, ...]) -> str:
    def sources(texts: Iterator[str]) -> str:
        digests = (hashlib.sha256(text.encode("utf-8")).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        "default-src 'none'; "
        f"script-src {sources(iter(scripts))} 'wasm-unsafe-eval'; "
        f"style-src {sources(iter([style]))}; "
        "img-src blob: data:; base-uri 'none'; form-action 'none'"
    )


def _inline(text: str, element: str) -> str:
    """Return a text that an element can hold."""
    if re.search(rf"</{element}|<!--", text, re.IGNORECASE):
        raise AssemblyError(f"a {element} of the page holds the end of its element")
    return text


def _json_block(name: str, value: object) -> str:
    text = json.dumps(value, sort_keys=True).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'
