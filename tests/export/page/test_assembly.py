"""Assembly of the page: modules joined into one, data that cannot end its block, the policy."""

import base64
import hashlib
import re
import shutil
import subprocess

import pytest

from vae_export.page.assembly import SOURCE, START, AssemblyError, assemble, join_modules
from vae_export.page.contents import Block, Contents

HOSTILE = "<img src=x onerror=alert(1)></title></script><!--"


def page(title="digits-vae", library="globalThis.ort={};", **facts):
    return assemble(Contents(title, facts, (Block("a.onnx", b"weights"),), library))


def test_every_module_is_in_the_page_once():
    joined = join_modules(SOURCE, START)
    for path in SOURCE.rglob("*.js"):
        assert joined.count(f"// {path.relative_to(SOURCE).as_posix()}\n") == 1
    assert "import {" not in joined and "\nexport " not in joined


def test_the_joined_module_is_javascript(node, tmp_path):
    path = tmp_path / "page.mjs"
    path.write_text(join_modules(SOURCE, START))
    subprocess.run([node, "--check", path], check=True)


def test_the_source_passes_eslint(node, node_modules, tmp_path):
    """Undefined names, unused names, == and shadowing; `npm install --no-save eslint globals`."""
    if not all((node_modules / name).is_dir() for name in ("eslint", "@eslint/js", "globals")):
        pytest.skip("eslint is not installed: npm install --no-save eslint @eslint/js globals")
    (tmp_path / "node_modules").symlink_to(node_modules)
    shutil.copytree(SOURCE, tmp_path / "source")
    (tmp_path / "eslint.config.mjs").write_text("""
import js from "@eslint/js";
import globals from "globals";
const rules = { eqeqeq: "error", "prefer-const": "error", "no-var": "error", "no-shadow": "error" };
export default [js.configs.recommended, { languageOptions: { globals: globals.browser }, rules }];
""")
    program = node_modules / "eslint" / "bin" / "eslint.js"
    done = subprocess.run([node, program, "source"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_module_comes_after_those_that_it_imports(tmp_path):
    (tmp_path / "main.js").write_text('import { b } from "./folder/b.js";\nb();\n')
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.js").write_text(
        'import {\n  a,\n  other,\n} from "../a.js";\n'
        "export function b() {\n  return a + other;\n}\n"
    )
    (tmp_path / "a.js").write_text("export const a = 1;\nexport const other = 2;\n")
    assert join_modules(tmp_path, "main.js") == (
        "// a.js\nconst a = 1;\nconst other = 2;\n\n"
        "// folder/b.js\nfunction b() {\n  return a + other;\n}\n\n"
        "// main.js\nb();\n"
    )


@pytest.mark.parametrize(
    ("main", "other", "message"),
    [
        ("const a = 1;", "export const a = 2;", r"main\.js and a\.js both define a"),
        ("async function a() {}", "class a {}", "both define a"),
        ("", 'import { m } from "./main.js";\n', "imports itself in a circle"),
        ("export default 1;", "", "cannot be joined"),
        ('import * as b from "./a.js";', "", "cannot be joined"),
    ],
)
def test_modules_that_cannot_be_joined(tmp_path, main, other, message):
    (tmp_path / "main.js").write_text(f'import {{ b }} from "./a.js";\n{main}\n')
    (tmp_path / "a.js").write_text(f"{other}\n")
    with pytest.raises(AssemblyError, match=message):
        join_modules(tmp_path, "main.js")


def test_names_are_escaped():
    html = page(title=HOSTILE, signature={"key": HOSTILE})
    assert HOSTILE not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;&lt;/title&gt;") == 2
    assert "<img src=x" not in html


@pytest.mark.parametrize("end", ["</script>", "</SCRIPT ", "<!--"])
def test_code_that_would_end_its_block_is_refused(end):
    with pytest.raises(AssemblyError, match="end of its element"):
        page(library=f'globalThis.ort = "{end}";')


def test_the_policy_allows_the_pages_own_code_and_nothing_else():
    html = page()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)[1]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert "unsafe-inline" not in policy and "http" not in policy
    for element, pattern in (
        ("script", r'<script type="module">(.*?)</script>'),
        ("style", r"<style>(.*?)</style>"),
    ):
        found = re.findall(pattern, html, re.S)
        for text in found:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in directives[f"{element}-src"]
        assert directives[f"{element}-src"].count("sha256-") == len(found) > 0


def test_nothing_in_the_page_comes_from_elsewhere():
    html = page()
    assert re.findall(r"\b(?:src|href)=\"(?!#)[^\"]*", html) == []
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)[^\s\"']*", html) == []
    assert re.findall(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", html) == []
