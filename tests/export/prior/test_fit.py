"""A mixture prior: fitted, written, verified, refused if it was edited."""

import shutil
import sys

import numpy as np
import pytest

from messages import one_line
from sealing import seal
from vae_export import PriorSamples, fit_prior
from vae_runtime import Bundle, BundleError, ExportError, InputError, OptionError, load, pack
from vae_runtime.files.npz import npz_bytes
from vae_runtime.prior.mixture import PRIOR_FILE, Mixture, read_mixture

X = np.random.default_rng(0).random((400, 8, 8, 1), dtype=np.float32)
TRAINING, HELD_OUT = PriorSamples(X[:300]), PriorSamples(X[300:])


@pytest.fixture(scope="module")
def fitted(exported, tmp_path_factory):
    """A bundle with a prior of two components; no test changes it."""
    path = tmp_path_factory.mktemp("prior") / "small-vae"
    shutil.copytree(exported(), path)
    fit_prior(path, TRAINING, HELD_OUT, components=2)
    return path


@pytest.fixture
def edited(fitted, tmp_path):
    return shutil.copytree(fitted, tmp_path / "edited")


def change(path, **arrays):
    """Change arrays of the prior; size and digest are made right again."""
    known = dict(np.load(path / PRIOR_FILE))
    seal(path, PRIOR_FILE, npz_bytes({**known, **arrays}))


def test_the_fitted_prior_has_the_moments_of_the_latent_samples(fitted):
    vae = load(fitted)
    encoding = vae.encode(X[:300])
    second = encoding.z_mean.var(axis=0) + np.exp(encoding.z_log_var).mean(axis=0)
    z = read_mixture(Bundle(fitted)).sample(20_000, seed=1)
    np.testing.assert_allclose(z.mean(axis=0), encoding.z_mean.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(z.var(axis=0), second, rtol=0.2)


def test_verify_compares_log_densities_with_those_of_scikit_learn(fitted, edited):
    report = load(fitted).verify()
    (row,) = [d for d in report.differences if d.graph == "prior"]
    assert report.passed and row.output == "log_density"
    means = np.load(edited / PRIOR_FILE)["means"]
    change(edited, means=means + np.float32(0.01))
    report = load(edited).verify()
    assert not report.passed
    assert [d.graph for d in report.differences if not d.agrees] == ["prior"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights", np.float32([0.5, 0.4]), "its weights are not shares"),
        ("weights", np.float32([1.5, -0.5]), "its weights are not shares"),
        ("scales", np.ones((2, 3, 3), np.float32), "not lower triangular"),
        ("scales", np.zeros((2, 3, 3), np.float32), "scales that are not positive"),
        ("means", np.zeros((3, 3), np.float32), "means"),
        ("means", np.full((2, 3), np.nan, np.float32), "finite"),
    ],
)
def test_an_edited_prior_is_refused(name, value, message, edited):
    change(edited, **{name: value})
    with pytest.raises(BundleError, match=message) as caught:
        load(edited).sample(1, prior="mixture")
    assert "fit the prior again" in str(caught.value) and "\n" not in str(caught.value)


def test_a_bundle_whose_manifest_lost_the_file_is_refused(edited):
    def forget(manifest):
        manifest["prior"]["file"] = "nothing.npz"

    seal(edited, "README.md", (edited / "README.md").read_bytes(), forget)
    with pytest.raises(BundleError, match=r"prior\.file 'nothing\.npz' is not among files"):
        load(edited)


def test_samples_come_from_the_prior_that_is_named(fitted, exported):
    vae = load(fitted)
    z = read_mixture(vae.bundle).sample(5, seed=7)
    assert (vae.sample(5, seed=7, prior="mixture") == vae.decode(z)).all()
    assert (vae.sample(5, seed=7) == load(exported()).sample(5, seed=7)).all()
    with pytest.raises(OptionError, match="prior is 'uniform', expected one of normal, mixture"):
        vae.sample(1, prior="uniform")
    with pytest.raises(OptionError, match=r"no mixture prior: add one with build-vae fit-prior"):
        load(exported()).sample(1, prior="mixture")


def test_held_out_samples_choose_the_number_of_components(exported, tmp_path):
    path = shutil.copytree(exported(), tmp_path / "vae")
    spec = fit_prior(path, TRAINING, HELD_OUT)
    assert spec.components in (1, 2, 4, 8) and spec.held_out == 100
    one = fit_prior(path, TRAINING, HELD_OUT, components=1)
    assert spec.log_likelihood >= one.log_likelihood  # the second replaces the first
    assert Bundle(path).manifest.prior == one


def test_the_card_has_one_section(fitted, exported, tmp_path):
    path = shutil.copytree(fitted, tmp_path / "vae")
    fit_prior(path, TRAINING, HELD_OUT, components=1)
    text = (path / "README.md").read_text("utf-8")
    assert text.count("## The mixture prior") == 1
    assert "a mixture of one Gaussian" in text and "2 Gaussians" not in text
    head, _, rest = text.partition("\n## The mixture prior\n")
    assert (head + "\n## Use\n" + rest.partition("\n## Use\n")[2]).split() == (
        exported() / "README.md"
    ).read_text("utf-8").split()


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "conv", "shape": (9, 7, 3)},
        {"reconstruction": "gaussian", "variance": 0.7, "input_dtype": "uint8"},
    ],
)
def test_other_models(options, exported, tmp_path):
    path = shutil.copytree(exported(**options), tmp_path / "vae")
    shape = Bundle(path).manifest.input.shape
    x = np.random.default_rng(1).integers(0, 256, (80, *shape)).astype(np.uint8)
    fit_prior(path, PriorSamples(x[:60]), PriorSamples(x[60:]))
    vae = load(path)
    assert vae.verify().passed and vae.sample(3, prior="mixture").shape == (3, *shape)
    assert load(pack(path, tmp_path / "one.vae").path).sample(3, prior="mixture").shape[0] == 3


def test_too_few_samples_and_wrong_numbers(exported, fitted, tmp_path):
    path = shutil.copytree(exported(), tmp_path / "vae")
    before = (path / "manifest.json").read_bytes()
    with pytest.raises(InputError, match="9 held-out samples choose no prior: give at least 10"):
        fit_prior(path, TRAINING, PriorSamples(X[:9]))
    with pytest.raises(InputError, match="19 training samples fit no mixture"):
        fit_prior(path, PriorSamples(X[:19]), HELD_OUT)
    with pytest.raises(OptionError, match="components is 16, expected 1 to 15"):
        fit_prior(path, TRAINING, HELD_OUT, components=16)
    single = pack(fitted, tmp_path / "one.vae").path
    with pytest.raises(BundleError, match="is a single file: fit the prior of the folder"):
        fit_prior(single, TRAINING, HELD_OUT)
    assert (path / "manifest.json").read_bytes() == before


def test_a_prior_that_does_not_verify_is_not_published(exported, tmp_path, monkeypatch):
    path = shutil.copytree(exported(), tmp_path / "vae")
    before = (path / "manifest.json").read_bytes()
    monkeypatch.setattr(Mixture, "log_densities", lambda mixture, z: np.zeros(len(z)))
    with pytest.raises(ExportError, match="prior log_density differs"):
        fit_prior(path, TRAINING, HELD_OUT, components=1)
    assert (path / "manifest.json").read_bytes() == before


def test_the_commands(call, exported, tmp_path, monkeypatch):
    path = shutil.copytree(exported(), tmp_path / "vae")
    many = tmp_path / "many.npy"
    np.save(many, (255 * X).astype(np.uint8))
    code, out, err = call("fit-prior", path, "--data", many, "--components", 2, "-q")
    assert code == 0, err
    assert out.startswith("mixture of 2 Gaussians: ")
    code, out, err = call("sample", path, "--prior", "mixture", "-o", tmp_path / "s.npy")
    assert code == 0 and np.load(tmp_path / "s.npy").shape == (64, 8, 8, 1), err
    code, _, err = call("sample", exported(), "--prior", "mixture", "-o", tmp_path / "s.npy")
    assert code == 3 and "build-vae fit-prior" in one_line(err)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    code, _, err = call("fit-prior", path, "--data", many)
    assert code == 3 and 'pip install "build-vae[prior]"' in one_line(err)
