import copy
import json
from pathlib import Path

import jsonschema
import pytest

from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.bundle.manifest import graph_tensors, manifest_schema, read_manifest
from vae_runtime.errors import BundleError
from vae_runtime.files import strict_json
from vae_runtime.loss import LossSpec

GOLDEN = Path(__file__).with_name("manifest-1.json")
TEXT = GOLDEN.read_bytes()
DATA = json.loads(TEXT)


def read(data):
    return read_manifest(json.dumps(data).encode(), "m.json")


def paths(value, path=()):
    """Yield the path of every value in a JSON tree, including the root."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, child in items:
        yield from paths(child, (*path, key))


def at(data, path):
    for key in path:
        data = data[key]
    return data


def changed(path, value):
    """Return the golden manifest with the value at a path replaced; () is the path of the root."""
    data = {"all": copy.deepcopy(DATA)}
    *parents, last = ("all", *path)
    at(data, parents)[last] = value
    return data["all"]


def parses(data):
    """Return whether the parser accepts the data, without the check of consistency."""
    try:
        strict_json.parse(Manifest, strict_json.decode(json.dumps(data).encode()))
    except strict_json.StrictJsonError:
        return False
    return True


def test_the_golden_manifest_keeps_its_bytes():
    assert strict_json.encode(read_manifest(TEXT, "m.json")) == TEXT


def test_the_golden_manifest_has_the_expected_values():
    m = read_manifest(TEXT, "m.json")
    assert (m.name, m.latent_dim, m.input.shape, m.input.range) == (
        "Zwölf Ziffern",
        2,
        (4, 3, 1),
        (0.0, 1.0),
    )
    assert m.loss == LossSpec("bce", 0.5)
    assert m.graphs.loss.inputs[1].name == "eps"
    assert m.graphs.decoder.outputs[0].shape == ("batch", 4, 3, 1)
    assert m.parity.mean.loss == 9.0
    assert m.tolerances.loss_atol == 1e-4
    assert (m.data.test, m.data.split_seed) == (100, 0)
    assert (m.training.options["hidden"], m.training.test.loss) == ((8, 6), 9.25)
    assert m.training.options["patience"] is None
    assert m.training.latents.active_units == 2
    assert m.files["saved_model/encoder/saved_model.pb"].size == 74458


def test_the_schema_is_valid():
    jsonschema.Draft202012Validator.check_schema(manifest_schema())


VALIDATOR = jsonschema.Draft202012Validator(manifest_schema())

MUTATIONS = {
    "null": lambda old: None,
    "negative": lambda old: -1,
    "zero": lambda old: 0,
    "large": lambda old: 2**53 + 1,
    "fraction": lambda old: 0.5,
    "true": lambda old: True,
    "text": lambda old: "no such word",
    "empty text": lambda old: "",
    "long text": lambda old: "x" * 201,
    "other case": lambda old: old.upper() if isinstance(old, str) else old,
    "escape": lambda old: "../x",
    "hidden": lambda old: ".x",
    "control": lambda old: "a\x1bb",
    "list": lambda old: [],
    "doubled": lambda old: old * 2 if isinstance(old, list) else [old],
    "object": lambda old: {},
    "unknown key": lambda old: {**old, "unknown": 1} if isinstance(old, dict) else {"a": old},
    "bad key": lambda old: (
        {**old, "/root": {"size": 1, "sha256": "0" * 64}} if isinstance(old, dict) else old
    ),
}


# One place is enough for values of the same type.
TWINS = [
    ("graphs", "decoder"),
    ("graphs", "loss"),
    ("saved_models", "decoder"),
    ("training", "validation"),
    ("training", "test"),
    *(("files", name) for name in DATA["files"] if name != "loss.onnx"),
]
PLACES = [path for path in paths(DATA) if not any(path[: len(t)] == t and path != t for t in TWINS)]


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_schema_agrees_with_the_parser(mutation):
    for path in PLACES:
        old = at(DATA, path)
        new = MUTATIONS[mutation](old)
        if new != old:
            data = changed(path, new)
            assert VALIDATOR.is_valid(data) == parses(data), path


def test_the_schema_agrees_with_the_parser_on_missing_keys_and_items():
    for *parents, last in filter(None, PLACES):
        data = copy.deepcopy(DATA)
        del at(data, parents)[last]
        assert VALIDATOR.is_valid(data) == parses(data), (*parents, last)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("latent_dim",), 2.0),  # in JSON Schema, 2.0 is an integer
        (("format_version",), 1.0),
        (("training", "parameters"), 10**18),  # JSON Schema does not limit the digits
        (("versions", "a"), "\ud800"),  # JSON Schema allows lone surrogates
    ],
)
def test_rules_that_the_schema_cannot_express(path, value):
    assert VALIDATOR.is_valid(changed(path, value))
    assert not parses(changed(path, value))


TABLE = {
    "columns": [{"name": "a", "kind": "number"}, {"name": "b", "kind": "boolean"}],
    "missing": "error",
    "unknown_category": "error",
}
INCONSISTENT = {
    "graphs.encoder does not fit": [
        (("input", "shape"), [4, 3]),
        (("latent_dim",), 3),
        (("graphs", "encoder", "inputs", 0, "shape", 1), 5),
        (("graphs", "encoder", "outputs", 0, "name"), "z_log_var"),
        (("graphs", "encoder", "outputs"), []),
        (("graphs", "encoder", "inputs", 0, "shape", 0), 4),
    ],
    "graphs.decoder does not fit": [
        (("graphs", "decoder", "outputs"), DATA["graphs"]["decoder"]["outputs"][::-1]),
    ],
    "graphs.loss does not fit": [
        (("graphs", "loss", "inputs", 1, "shape"), ["batch", 3]),
        (("graphs", "loss", "outputs", 2, "shape"), ["batch", 1]),
    ],
    "graphs.encoder.file 'other.onnx' is not among files": [
        (("graphs", "encoder", "file"), "other.onnx"),
    ],
    "parity.file 'other.npz' is not among files": [(("parity", "file"), "other.npz")],
    "saved_models.decoder.path 'other' is not among files": [
        (("saved_models", "decoder", "path"), "other"),
    ],
    "files has names that differ in case only": [
        (("files", "readme.md"), DATA["files"]["parity.npz"]),
        (("files", "manifest.json"), DATA["files"]["parity.npz"]),
    ],
    "loss.decoder is 'logits', the mse loss takes values": [(("loss", "reconstruction"), "mse")],
    "loss.decoder is 'values', the bce loss takes logits or": [(("loss", "decoder"), "values")],
    "graphs.decoder does not fit input (4, 3, 1) float32, latent_dim 2 and loss bce of prob": [
        (("loss", "decoder"), "probabilities"),
    ],
    "input.shape is empty": [(("input", "shape"), [])],
    "input.range is None, the bce loss of float32 needs (0.0, 1.0)": [(("input", "range"), None)],
    "loss.variance is 0.5, the bce loss has none": [(("loss", "variance"), 0.5)],
    "input.standardization does not fit the bce loss": [
        (("input", "standardization"), {"mean": [0.5], "scale": [0.5]}),
    ],
    "graphs.encoder does not fit input (4, 3, 1) uint8": [(("input", "dtype"), "uint8")],
    "data.columns has 2 names for samples of shape (4, 3, 1)": [(("data", "columns"), ["a", "b"])],
    "data.table: columns is empty or names one twice": [
        (("data", "table"), TABLE | {"columns": []})
    ],
    "data.table: column 'a' of kind category has 0 categories": [
        (("data", "table"), TABLE | {"columns": [{"name": "a", "kind": "category"}]}),
    ],
    "data.table: column 'a' does not fit missing 'mean'": [
        (("data", "table"), TABLE | {"missing": "mean"}),
    ],
    "data.table has 2 elements, which do not fit data.columns": [(("data", "table"), TABLE)],
    "input.range is (0.0, 2.0), the bce loss": [(("input", "range"), [0, 2])],
    "latent_shape is (3,), latent_dim is 2": [(("latent_shape",), [3])],
    "latent_shape is (), latent_dim is 2": [(("latent_shape",), [])],
    "graphs.encoder does not fit input": [
        (("latent_shape",), [1, 2]),
        (("condition",), {"shape": [3], "categories": None}),
    ],
    "condition.categories has 2 labels, shape is (3,)": [
        (("condition",), {"shape": [3], "categories": ["a", "b"]}),
    ],
    "condition.categories has 2 labels, shape is (2,)": [
        (("condition",), {"shape": [2], "categories": ["a", "a"]}),
    ],
    "loss.decoder is 'mean_log_var', the bce loss takes": [(("loss", "decoder"), "mean_log_var")],
}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [(*case, message) for message, cases in INCONSISTENT.items() for case in cases],
)
def test_a_manifest_that_contradicts_itself(path, value, message):
    data = changed(path, value)
    assert VALIDATOR.is_valid(data)  # a schema cannot compare two fields
    with pytest.raises(BundleError) as caught:
        read(data)
    assert str(caught.value).startswith(f"m.json: {message}")


def test_an_mse_manifest_has_no_range_and_no_logits():
    data = changed(("loss", "reconstruction"), "mse")
    data["loss"]["decoder"] = "values"
    data["variants"] = {}
    del data["graphs"]["decoder"]["outputs"][0]
    with pytest.raises(BundleError, match="the mse loss of float32 needs None"):
        read(data)
    data["input"]["range"] = None
    assert read(data).input.range is None


@pytest.mark.parametrize("version", [3, 4, 10**9])
def test_a_newer_version_is_named_before_any_other_error(version):
    message = f"m.json has format version {version}, this build-vae reads up to 2: pip install"
    for data in ({"format_version": version}, changed(("format_version",), version)):
        with pytest.raises(BundleError, match=message):
            read(data)


@pytest.mark.parametrize("version", [0, -1, True, "1", "2", 1.5, None, [1]])
def test_an_invalid_version_does_not_count_as_newer(version):
    found = (
        r"\$\.format_version: (Invalid enum value|Expected int, got) .*: the manifest is damaged"
    )
    with pytest.raises(BundleError, match=found):
        read(changed(("format_version",), version))


@pytest.mark.parametrize("data", [b"", b"junk", b"[]", b"null", b"\xff", TEXT[:-3], TEXT + b"{}"])
def test_an_unreadable_manifest_names_the_file(data):
    with pytest.raises(BundleError, match=r"^m\.json: .*: the manifest is damaged or was edited"):
        read_manifest(data, "m.json")


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "README.md",
        "a/b-c_d.e",
        "saved_model/encoder/variables/variables.data-00000-of-00001",
        "-x",
        "a/b/c",
    ],
)
def test_relative_paths(path):
    assert path in read(changed(("files", path), {"size": 1, "sha256": "0" * 64})).files


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/.b",
        "a\\b",
        "C:a",
        "a b",
        "é",
        "a\n",
        "A",
        "a/README.md",
        "~",
    ],
)
def test_hidden_paths_and_paths_outside_the_folder_are_refused(path):
    with pytest.raises(BundleError, match=r"key in \$\.files: Expected str matching"):
        read(changed(("files", path), {"size": 1, "sha256": "0" * 64}))


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "A" * 64, "0" * 64 + "\n", None])
def test_a_digest_is_64_hexadecimal_digits(digest):
    with pytest.raises(BundleError, match=r"\$\.files\[\.\.\.\]\.sha256: Expected str"):
        read(changed(("files", "loss.onnx", "sha256"), digest))


def test_graph_tensors_of_vectors_and_mse():
    tensors = graph_tensors(InputSpec((12,)), (4,), LossSpec("mse"))
    found = {
        name: [[(tensor.name, tensor.shape) for tensor in side] for side in sides]
        for name, sides in tensors.items()
    }
    assert found == {
        "encoder": [
            [("x", ("batch", 12))],
            [("z_mean", ("batch", 4)), ("z_log_var", ("batch", 4))],
        ],
        "decoder": [[("z", ("batch", 4))], [("reconstruction", ("batch", 12))]],
        "loss": [
            [("x", ("batch", 12)), ("eps", ("batch", 4))],
            [("reconstruction_loss", ("batch",)), ("kl_loss", ("batch",)), ("loss", ("batch",))],
        ],
    }


def test_formats_1_and_2_are_read():
    assert read_manifest(TEXT, "manifest-1.json").format_version == 1
    assert read(changed(("format_version",), 2)).format_version == 2
