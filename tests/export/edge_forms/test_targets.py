"""Edge forms for one runtime: what is written, what is refused, and that load.py finds faults."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime import InferenceSession

import vae_export.edge_forms.check.runtimes as runtimes
from vae_builder.cli.edge import edge_command
from vae_export import edge
from vae_export.edge_forms.rewriting.registry import REWRITES
from vae_export.edge_forms.script import load_script
from vae_export.edge_forms.targets import ALL_GRAPHS, ALL_PRECISIONS, TARGETS
from vae_runtime import Bundle, OptionError, load
from vae_runtime.proof.reference import read_reference


@pytest.fixture(scope="module")
def bundle(exported):
    return exported(score="combined")


@pytest.fixture
def forms(bundle, tmp_path):
    return edge(bundle, tmp_path / "forms", batch="open", target="portable")


def run_script(folder):
    done = subprocess.run(
        [sys.executable, "-I", folder / "load.py"], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def test_load_py_finds_all_values_right(forms):
    assert run_script(forms.path) == (0, "".join(f"{name}: right\n" for name in ALL_GRAPHS))
    assert forms.batch is None
    for graph in ALL_GRAPHS:
        model = onnx.load(forms.path / graph / "model.onnx")
        dims = {v.type.tensor_type.shape.dim[0].dim_param for v in model.graph.input}
        assert dims == {"batch"}
        assert not [*(forms.path / graph).glob("*.ort")]


def test_load_py_finds_a_wrong_weight(forms):
    path = forms.path / "decoder" / "model.onnx"
    model = onnx.load(path)
    bias = next(t for t in model.graph.initializer if len(t.dims) == 1 and t.data_type == 1)
    values = numpy_helper.to_array(bias) + np.float32(1e-3)
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    onnx.save(model, path)
    status, text = run_script(forms.path)
    assert status == 1
    assert "decoder, logits, test_data_set_0: differs by" in text
    assert "decoder: WRONG" in text
    assert "loss: right" in text


@pytest.mark.parametrize("fault", ["nan", "shape", "file"])
def test_load_py_finds_other_faults(forms, fault):
    path = forms.path / "loss" / "test_data_set_1" / "output_2.pb"
    expected = numpy_helper.to_array(onnx.load_tensor(path))
    if fault == "file":
        (forms.path / "loss" / "model.onnx").write_bytes(b"")
    else:
        wrong = expected[:, None] if fault == "shape" else expected * np.float32(np.nan)
        onnx.save_tensor(numpy_helper.from_array(wrong, "loss"), path)
    status, text = run_script(forms.path)
    assert status == 1
    said = {"nan": "differs by nan", "shape": "expected (3, 1)", "file": "loss: FAILED: "}
    assert said[fault] in text


def test_the_readme_loads_a_graph(forms, monkeypatch):
    text = (forms.path / "README.md").read_text("utf-8")
    assert "any number of samples" in text
    assert "| input_0, `x` | float32 | (batch, 8, 8, 1) | samples |" in text
    _, usage = re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)
    done = subprocess.run(
        [sys.executable, "-c", usage], cwd=forms.path, capture_output=True, text=True, check=False
    )
    assert re.fullmatch(r"\[[0-9.]+\]\n", done.stdout), done.stderr


def test_allowed_differences_are_small(forms, bundle):
    reference = read_reference(Bundle(bundle))
    allowed = np.load(forms.path / "loss" / "test_data_set_0" / "allowed_2.npy")
    loss = reference["loss"][:3]
    assert allowed.shape == (3,)
    assert (allowed <= 1e-4 * loss).all()
    assert (allowed >= 2e-6 * loss * (1 - 1e-9)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("pytorch", 1), r"^target is 'pytorch', expected one of portable, opencv, mnn, "),
        (("opencv", "open"), r"^OpenCV .* cannot have an open batch: .*: give a number$"),
        (("ncnn", 2), r"^ncnn .* cannot have a batch of 2: .*: give a batch of 1$"),
        (("c", 0), r"^batch is 0, expected 1 or more$"),
        ((None, "open"), r"^batch is 'open', expected a number: only --for NAME takes 'open'$"),
    ],
)
def test_what_a_target_cannot_have_is_said_before_anything_is_written(
    bundle, tmp_path, options, message
):
    target, batch = options
    with pytest.raises(OptionError, match=message) as caught:
        edge(bundle, tmp_path / "forms", batch=batch, target=target)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "forms").exists()


def test_graphs_that_a_target_does_not_compute_are_left_out(bundle, tmp_path):
    forms = edge(bundle, tmp_path / "forms", target="fpga")
    assert forms.left_out.keys() == {"loss", "score"}
    assert sorted(p.name for p in forms.path.iterdir()) == [
        *("Loss.swift", "README.md", "decoder", "encoder", "load.py", "loss.c", "loss.mjs")
    ]
    text = (forms.path / "README.md").read_text("utf-8")
    assert f"`loss` is left out. {TARGETS['fpga'].refused['loss']}." in text
    assert "`reconstruction`" not in text.partition("## decoder")[2]
    assert "takes `x`, `logits`, `z_mean`, `z_log_var`, in this" in text


@pytest.mark.parametrize("target", [name for name, row in TARGETS.items() if row.loss_code])
def test_the_loss_from_the_outputs_of_the_written_graphs(target, bundle, tmp_path):
    """ONNX Runtime runs encoder and decoder as the device would, JavaScript sums."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    forms = edge(bundle, tmp_path / "forms", target=target)
    x = read_reference(Bundle(bundle))["x"][:1]
    encoder, decoder = (
        InferenceSession(forms.path / graph / "model.onnx") for graph in ("encoder", "decoder")
    )
    z_mean, z_log_var = encoder.run(["z_mean", "z_log_var"], {"x": x})
    (logits,) = decoder.run(["logits"], {"z": z_mean})
    arrays = json.dumps([a.ravel().tolist() for a in (x, logits, z_mean, z_log_var)])
    program = f"""import {{ vaeLoss }} from "./loss.mjs";
    const arrays = {arrays}.map((numbers) => new Float32Array(numbers));
    console.log(vaeLoss(...arrays).loss);"""
    (forms.path / "main.mjs").write_text(program)
    words = ["node", "main.mjs"]
    found = subprocess.run(words, cwd=forms.path, check=True, capture_output=True, text=True)
    expected = load(bundle).loss(x).loss[0]
    assert float(found.stdout) == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_the_table(target):
    assert target.batch in ("open", "fixed", "one")
    assert {*target.rewrites} <= {*REWRITES}
    assert {*target.precisions} <= {*ALL_PRECISIONS}
    needed = {*ALL_PRECISIONS} - {*target.precisions} | {*ALL_GRAPHS} - {*target.graphs}
    needed |= {"open": set(), "fixed": {"open"}, "one": {"open", "fixed"}}[target.batch]
    assert target.refused.keys() == needed  # a reason for all that it lacks, and nothing else
    assert target.packages
    assert 13 <= target.opset <= 18
    compile(load_script(target, target.graphs), "load.py", "exec")


def test_each_runtime_has_a_target():
    (folder,) = map(Path, runtimes.__path__)
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert {target.runtime or target.name for target in TARGETS.values()} == modules


def test_the_command_names_every_target(call, bundle, tmp_path):
    help_text = " ".join(edge_command.help.split())
    assert f"Names: {', '.join(TARGETS)}." in help_text
    words = ("edge", bundle, "--for", "fpga", "-o")
    status, out, _ = call(*words, tmp_path / "fpga")
    assert status == 0
    assert f"left out loss: {TARGETS['fpga'].refused['loss']}\n" in out
    assert out.endswith(f"run {tmp_path / 'fpga' / 'load.py'} where the runtime is installed\n")
    status, _, err = call(*words, tmp_path / "new", "--batch", "open")
    assert status != 0
    assert "cannot have an open batch" in err
    status, _, err = call(*words, tmp_path / "new", "--batch", "some")
    assert status != 0
    assert "'some' is neither a number of samples nor 'open'" in err


def test_the_readme_has_the_table():
    text = (Path(__file__).parents[3] / "export" / "README.md").read_text("utf-8")
    for target in TARGETS.values():
        graphs = ", ".join(target.graphs) if target.graphs != ALL_GRAPHS else "all"
        row = f"| `{target.name}` | {target.title} | {target.batch} | "
        row += f"{', '.join(target.precisions)} | {graphs} |"
        assert row in text, row
