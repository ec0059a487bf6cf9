"""The page in a real Chromium, from disk: proof, pictures, rows, latent space, card, keyboard."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import vae_runtime
from sealing import tamper
from vae_export import write_page
from vae_export.page.assembly import assemble
from vae_export.page.contents import Block, page_contents
from vae_export.page.onnxruntime_web import read_ort_web
from vae_runtime.data.pictures.picture_files import read_pictures

PROVED = ("wait", "#verdict[data-result]")
READY = ("wait", "#sample-result table")
LOSSES = (
    "evaluate",
    "Object.fromEntries([...document.querySelectorAll('[data-loss]')]"
    ".map(({ dataset }) => [dataset.loss, Number(dataset.value)]))",
)
P_VALUE = ("evaluate", "Number(document.querySelector('#p-value').dataset.p)")
DECODED = ("evaluate", "document.querySelector('#latent-decoded canvas').toDataURL()")
INPUT = ("evaluate", "document.querySelector('#input').toDataURL()")
IDLE = ("wait", "body:not(:has([aria-busy=true]))")


@pytest.fixture(scope="module")
def pictures(exported):
    """The path of a bundle of grey pictures with a combined score."""
    return exported(score="combined")


@pytest.fixture(scope="module")
def page(pictures, ort_web, tmp_path_factory):
    """The path of its page."""
    path = tmp_path_factory.mktemp("pages") / "small.html"
    return write_page(pictures, path, ort_web=ort_web).path


@pytest.fixture
def page_of(ort_web, tmp_path):
    """Return a function that writes the page of a bundle, and returns its path."""
    return lambda bundle: write_page(bundle, tmp_path / "page.html", ort_web=ort_web).path


def test_the_proof_passes_and_shows_the_table_of_verify(browser, page, pictures):
    report = vae_runtime.load(pictures).verify()
    _, verdict, digests, (header, *rows), mean = browser.visit(
        page,
        PROVED,
        ("text", "#verdict"),
        ("text", "#digests"),
        ("rows", "#proof-table"),
        ("text", "#mean-loss"),
    )
    assert verdict.startswith(f"PASSED: {report.samples} samples")
    assert vae_runtime.Bundle(pictures).sha256 in digests and "All 9 files have" in digests
    assert header[0] == "Graph" and header[-1] == "Result"
    expected = [
        (row.graph.replace("numpy", "javascript"), row.output) for row in report.differences
    ]
    expected += [(row.graph, "in other batches") for row in report.batch_independence]
    assert [tuple(row[:2]) for row in rows] == expected
    assert {row[-1] for row in rows} == {"ok"}
    assert f"{report.mean_loss_reference:.6f} by TensorFlow" in mean


def test_a_wrong_weight_is_shown(browser, bundle, page_of):
    tamper(bundle)
    _, verdict, rows = browser.visit(
        page_of(bundle), PROVED, ("text", "#verdict"), ("rows", "#proof-table")
    )
    assert verdict.startswith("FAILED") and "computed in another way" in verdict
    results = {(row[0], row[1]): row[-1] for row in rows}
    assert results["decoder", "logits"] == results["decoder", "reconstruction"] == "DIFFERS"
    assert results["encoder", "z_mean"] == results["loss", "loss"] == "ok"


@pytest.mark.slow
def test_a_changed_file_is_shown(browser, page, pictures, ort_web, tmp_path):
    """Whoever edits the page's data, and not its manifest, is found out by the digest."""
    contents = page_contents(vae_runtime.Bundle(pictures), read_ort_web(ort_web), None)
    blocks = [
        Block(block.name, block.data.replace(b"autoencoder", b"autodecoder"))
        if block.name == "README.md"
        else block
        for block in contents.blocks
    ]
    path = tmp_path / "changed.html"
    path.write_text(assemble(replace(contents, blocks=tuple(blocks))), "utf-8")
    _, verdict, digests = browser.visit(path, PROVED, ("text", "#verdict"), ("text", "#digests"))
    assert verdict.startswith("FAILED") and "A file of the bundle was changed" in verdict
    assert "README.md has SHA-256" in digests


PICTURES = {
    "grey": lambda rng: Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)),
    "colour": lambda rng: Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)),
    "palette": lambda rng: PICTURES["grey"](rng).convert("P"),
}


WAYS = [
    ("grey", "drop"),
    *(
        pytest.param(*way, marks=pytest.mark.slow)
        for way in (
            ("colour", "drop"),
            ("palette", "drop"),
            ("grey", "paste"),
            ("colour", "upload"),
        )
    ),
]


@pytest.mark.parametrize(("kind", "how"), WAYS)
def test_a_picture_has_the_loss_that_python_computes(browser, page, pictures, tmp_path, kind, how):
    path = tmp_path / "picture.png"
    PICTURES[kind](np.random.default_rng(7)).save(path)
    give = ("upload", "#file", str(path)) if how == "upload" else (how, str(path), "image/png")
    *_, before, _, _, losses, p_value = browser.visit(
        page, READY, LOSSES, give, IDLE, LOSSES, P_VALUE
    )
    vae = vae_runtime.load(pictures)
    x = read_pictures(tmp_path, ["picture.png"], channels=1).pixels
    expected = {name: float(value[0]) for name, value in vars(vae.loss(x)).items()}
    assert losses == pytest.approx(expected, rel=2e-6)
    assert p_value == pytest.approx(float(vae.score(x).p_value[0]), abs=1e-6)
    assert losses != before


@pytest.mark.slow
def test_pictures_that_need_a_note(browser, page, tmp_path):
    Image.new("RGB", (20, 16), "white").save(tmp_path / "large.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    _, _, _, resized, _, _, refused = browser.visit(
        page,
        READY,
        ("drop", str(tmp_path / "large.png"), "image/png"),
        IDLE,
        ("text", "#sample-note"),
        ("drop", str(tmp_path / "broken.png"), "image/png"),
        IDLE,
        ("text", "#sample-note"),
    )
    assert resized == "resized from 20 × 16 to 8 × 8"  # noqa: RUF001
    assert refused.startswith("Not used:") and "is not a picture" in refused


def test_a_hostile_manifest_does_not_run(browser, bundle, page_of):
    """Names are shown as they are; neither markup nor script of theirs gets into the page."""
    attack = "<img src=x onerror=globalThis.hacked=1><script>globalThis.hacked=1<\\script>"
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["name"] = attack
    manifest["created"] = manifest["versions"]["tensorflow"] = f"{attack}</script>{attack}"
    manifest["score"]["data"] = f"</title></script>{attack}"
    path.write_text(json.dumps(manifest))
    _, title, heading, facts, images, hacked = browser.visit(
        page_of(bundle),
        READY,
        ("evaluate", "document.title"),
        ("text", "h1"),
        ("text", "#card-content"),
        ("evaluate", "document.querySelectorAll('img, iframe, object').length"),
        ("evaluate", "'hacked' in globalThis"),
    )
    assert title == heading == attack
    assert f"{attack}</script>{attack}" in facts and f"</title></script>{attack}" in facts
    assert (images, hacked) == (0, False)


@pytest.mark.slow
def test_a_script_in_the_page_would_not_run(browser, page, tmp_path):
    """The policy is a second wall: even markup that got into the page could not run."""
    html = page.read_text("utf-8").replace("<main", "<script>globalThis.hacked = 1</script><main")
    path = tmp_path / "injected.html"
    path.write_text(html, "utf-8")
    _, hacked = browser.visit(path, PROVED, ("evaluate", "'hacked' in globalThis"), errors=None)
    assert hacked is False


@pytest.mark.slow
def test_a_browser_without_webassembly_is_told(browser, page, tmp_path):
    path = tmp_path / "no-webassembly.html"
    path.write_text(page.read_text("utf-8").replace(" 'wasm-unsafe-eval'", ""), "utf-8")
    _, fault, verdict = browser.visit(
        path, PROVED, ("text", "#fault"), ("text", "#verdict"), errors=None
    )
    assert fault.startswith("The page cannot compute") and verdict == "NOT CHECKED"


def test_every_control_works_by_keyboard(browser, page):
    names = ("example", "clear", "plane", "from", "to", "along", "origin", "own", "draw", "again")
    focusable = (
        "evaluate",
        f"{json.dumps(names)}.filter((id) => {{ const e = document.getElementById(id); e.focus(); "
        "return document.activeElement !== e; })",
    )
    steps = [READY, focusable, IDLE, DECODED]
    for action in (
        ("press", "#plane", "ArrowRight", 3),
        ("press", "#latent-sliders input >> nth=0", "ArrowLeft", 20),
        ("press", "#along", "ArrowRight", 40),
        ("press", "#origin", "Enter"),
        ("press", "#own", "Enter"),
    ):
        steps += [action, IDLE, DECODED]
    steps += [("press", "#draw", "Enter"), ("wait", "#latent-draws button")]
    steps += [("press", "#latent-draws button >> nth=3", "Enter"), IDLE, DECODED]
    steps += [("press", "#clear", "Enter"), IDLE, INPUT, LOSSES]
    steps += [("press", "#input", "ArrowUp"), ("press", "#input", " "), IDLE, INPUT, LOSSES]
    _, unreachable, _, *results = browser.visit(page, *steps)
    assert unreachable == []
    pictures = [r for r in results if isinstance(r, str)]
    losses = [r for r in results if isinstance(r, dict)]
    decoded, drawn = pictures[:7], pictures[7:]
    assert len({*decoded}) == 6  # the point before all, and the origin, are the same
    assert decoded[0] == decoded[4]
    assert len({*drawn}) == 2 and losses[0] != losses[1]


@pytest.mark.slow
def test_every_control_works_by_mouse(browser, page):
    steps = [READY, IDLE, DECODED]
    for action in (
        ("click", "#plane", 0.8, 0.3),
        ("click", "#origin"),
        ("select", "#from", "3"),
        ("click", "#along", 0.9, 0.5),
        ("click", "#draw"),
        ("click", "#latent-draws button >> nth=2"),
    ):
        steps += [action, IDLE, DECODED]
    steps += [INPUT, LOSSES, ("drag", "#input", (0.2, 0.2), (0.8, 0.8)), IDLE, INPUT, LOSSES]
    steps += [("select", "#example", "5"), IDLE, INPUT, ("click", "#clear"), IDLE, INPUT]
    steps += [("click", "#again"), ("wait", "#verdict[data-result=good]")]
    _, _, *results = browser.visit(page, *steps)
    pictures = [r for r in results if isinstance(r, str)]
    losses = [r for r in results if isinstance(r, dict)]
    decoded, inputs = pictures[:7], pictures[7:]
    assert decoded[2] == decoded[0] and decoded[4] == decoded[5]
    assert len({*decoded}) == 5
    assert len({*inputs}) == 4 and losses[0] != losses[1]


@pytest.fixture(scope="module")
def rows(exported):
    """The path of a bundle of rows with six columns."""
    return exported(reconstruction="gaussian", shape=(6,), score="combined", tails="both")


def test_a_pasted_row_has_the_loss_that_python_computes(browser, rows, page_of):
    x = np.array([[0.5, -1.25, 3, 0.1, 7, 1e-3]], np.float32)
    text = "; ".join(map(str, x[0].tolist()))
    *_, losses, p_value, fields, _, _, refused = browser.visit(
        page_of(rows),
        READY,
        ("fill", "#pasted", text),
        IDLE,
        LOSSES,
        P_VALUE,
        ("evaluate", "[...document.querySelectorAll('.row input')].map((field) => field.value)"),
        ("fill", ".row input >> nth=2", "three"),
        IDLE,
        ("text", "#sample-note"),
    )
    vae = vae_runtime.load(rows)
    expected = {name: float(value[0]) for name, value in vars(vae.loss(x)).items()}
    assert losses == pytest.approx(expected, rel=2e-6)
    assert p_value == pytest.approx(float(vae.score(x).p_value[0]), abs=1e-6)
    assert fields == ["0.5", "-1.25", "3", "0.1", "7", "0.001"]
    assert refused == "Not used: element 2 is “three”, expected a number."


VIEWS = [
    ("light", 360),
    *(
        pytest.param(*view, marks=pytest.mark.slow)
        for view in (("dark", 360), ("light", 1200), ("dark", 1200))
    ),
]


@pytest.mark.parametrize(("scheme", "width"), VIEWS)
def test_screen_readers_and_small_screens(browser, page, node_modules, scheme, width):
    axe = node_modules / "axe-core" / "axe.min.js"
    if not axe.is_file():
        pytest.skip("axe is not installed: npm install --no-save axe-core")
    found = (
        "evaluate",
        "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => "
        "[id, nodes.map((node) => node.html.slice(0, 200))]))",
    )
    overflow = ("evaluate", "document.documentElement.scrollWidth - innerWidth")
    *_, too_wide, violations = browser.visit(
        page,
        READY,
        ("evaluate", "document.querySelector('#draw').click()"),
        ("wait", "#latent-draws button"),
        ("evaluate", "document.querySelectorAll('details').forEach((d) => { d.open = true; })"),
        ("script", str(axe)),
        overflow,
        found,
        colorScheme=scheme,
        viewport={"width": width, "height": 800},
    )
    assert violations == []
    assert too_wide <= 0


def test_the_page_is_small(page, pictures):
    """At most 6 MB, plus the bundle."""
    bundle = vae_runtime.Bundle(pictures)
    assert page.stat().st_size <= 6e6 + sum(file.size for file in bundle.manifest.files.values())
