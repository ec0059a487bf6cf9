"""A loaded bundle, compared with the SavedModels that TensorFlow runs."""

import math
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import vae_runtime
from vae_runtime import InputError, OptionError
from vae_runtime.loss import LossSpec, numpy_losses

MODELS = {
    "dense": (("dense",), (8, 8, 1)),
    "conv": (("conv", "bce", (9, 7, 3), 3, 0.75), (9, 7, 3)),
    "vector": (("dense", "mse", (12,)), (12,)),
}
CODE = ("z_mean", "z_log_var")
PARTS = ("reconstruction_loss", "kl_loss", "loss")
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


@pytest.fixture
def vae(exported):
    return vae_runtime.load(exported(), threads=1)


def samples(count, shape=(8, 8, 1), seed=0):
    return np.random.default_rng(seed).random((count, *shape), dtype=np.float32)


def results(vae, x, eps=None):
    """Everything that a runtime computes from samples."""
    code, losses = vae.encode(x), vae.loss(x, eps)
    return {
        "z_mean": code.z_mean,
        "z_log_var": code.z_log_var,
        "reconstruction": vae.reconstruct(x),
        **{name: getattr(losses, name) for name in PARTS},
    }


def assert_same(found, expected):
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, err_msg=name, **CLOSE)


@pytest.mark.parametrize("count", [1, 3, 64, 1000])
@pytest.mark.parametrize("name", MODELS)
def test_results_agree_with_tensorflow(exported, name, count):
    import tensorflow as tf

    arguments, shape = MODELS[name]
    path = exported(*arguments)
    vae = vae_runtime.load(path, threads=1, batch_size=256)
    saved = {
        model: tf.saved_model.load(str(path / "saved_model" / model)).signatures["serving_default"]
        for model in ("encoder", "decoder")
    }
    x = samples(count, shape)
    eps = np.random.default_rng(1).standard_normal((count, 3)).astype(np.float32)
    code = {name: t.numpy() for name, t in saved["encoder"](x=tf.constant(x)).items()}
    z = code["z_mean"] + np.exp(code["z_log_var"] / 2) * eps
    decoded = {name: t.numpy() for name, t in saved["decoder"](z=tf.constant(z)).items()}
    encoding = vae.encode(x)
    np.testing.assert_allclose(encoding.z_mean, code["z_mean"], rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(encoding.z_log_var, code["z_log_var"], rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(vae.decode(z), decoded["reconstruction"], rtol=1e-5, atol=1e-6)
    bce = "logits" in decoded
    spec = LossSpec("bce" if bce else "mse", vae.manifest.loss.kl_weight)
    output = decoded["logits" if bce else "reconstruction"]
    expected = numpy_losses(spec, *(a.astype(float) for a in (x, output, *map(code.get, CODE))))
    losses = vae.loss(x, eps)
    for part in PARTS:
        found = getattr(losses, part)
        assert (found.shape, found.dtype) == ((count,), np.float32)
        np.testing.assert_allclose(found, getattr(expected, part), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_no_samples_give_empty_arrays(exported, name):
    arguments, shape = MODELS[name]
    vae = vae_runtime.load(exported(*arguments), threads=1)
    found = results(vae, np.zeros((0, *shape), np.float32))
    shapes = {"z_mean": (0, 3), "z_log_var": (0, 3), "reconstruction": (0, *shape)}
    assert {name: a.shape for name, a in found.items()} == shapes | dict.fromkeys(PARTS, (0,))
    assert {a.dtype for a in found.values()} == {np.dtype(np.float32)}
    assert vae.sample(0).shape == (0, *shape)


GREY = np.random.default_rng(5).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
SCALED = GREY.astype(np.float32) / np.float32(255)
BINARY = (GREY > 127).astype(np.float32)


def read_only():
    x = SCALED.copy()
    x.setflags(write=False)
    return x


@pytest.mark.parametrize(
    ("x", "same"),
    [
        (GREY, SCALED),
        (SCALED.astype(np.float64), SCALED),
        (SCALED.astype(">f4"), SCALED),
        (SCALED[..., 0], SCALED),
        (GREY[..., 0], SCALED),
        (np.asfortranarray(SCALED), SCALED),
        (np.repeat(SCALED, 2, axis=2)[:, :, ::2], SCALED),
        (SCALED[::-1].copy()[::-1], SCALED),
        (SCALED.tolist(), SCALED),
        (read_only(), SCALED),
        (BINARY.astype(bool), BINARY),
        (BINARY.astype(int), BINARY),
        (BINARY.astype(np.int8), BINARY),
        (BINARY.astype(np.float16), BINARY),
    ],
    ids=range(14),
)
def test_dtype_and_memory_layout_do_not_change_the_results(vae, x, same):
    before = np.array(x)
    assert_same(results(vae, x), results(vae, same))
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20, 50])
@pytest.mark.parametrize("name", MODELS)
def test_chunks_give_the_results_of_one_run(exported, name, batch_size):
    arguments, shape = MODELS[name]
    vae = vae_runtime.load(exported(*arguments), threads=1, batch_size=batch_size)
    x, eps = samples(20, shape), np.random.default_rng(2).standard_normal((20, 3))
    eps = eps.astype(np.float32)
    encoder, loss = vae.run("encoder", {"x": x}), vae.run("loss", {"x": x, "eps": eps})
    reconstruction = vae.run("decoder", {"z": encoder["z_mean"]})["reconstruction"]
    assert_same(results(vae, x, eps), {**encoder, **loss, "reconstruction": reconstruction})


def test_a_run_is_no_larger_than_batch_size(exported, monkeypatch):
    vae = vae_runtime.load(exported(), threads=1, batch_size=4)
    sizes = []
    sessions = vae._chunks.sessions
    run = sessions.run

    def counted(graph, inputs, **options):
        sizes.append(len(inputs["x"]))
        return run(graph, inputs, **options)

    monkeypatch.setattr(sessions, "run", counted)
    vae.loss(samples(10))
    assert sizes == [4, 4, 2]


def test_without_noise_z_is_the_mean(vae):
    x = samples(4)
    zeros, none = vae.loss(x, np.zeros((4, 3))), vae.loss(x)
    assert all((getattr(zeros, part) == getattr(none, part)).all() for part in PARTS)
    assert (vae.loss(x, np.ones((4, 3))).loss != none.loss).all()


@pytest.mark.parametrize(
    ("eps", "message"),
    [
        (np.zeros((5, 4)), r"eps has shape \(5, 4\), expected \(batch, 3\)"),
        (np.zeros(3), r"eps has shape \(3,\), expected \(batch, 3\): add the batch axis, eps\[No"),
        (np.zeros((4, 3)), "eps has 4 rows, x has 5 samples: give one row for each sample"),
        (np.full((5, 3), np.nan), "eps row 0 has 3 values that are NaN"),
        (np.zeros((5, 3), complex), "dtype complex128"),
    ],
)
def test_invalid_noise_is_refused(vae, eps, message):
    with pytest.raises(InputError, match=message):
        vae.loss(samples(5), eps)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "sample 7 has 1 values that are NaN"), (1.5, r"sample 7 has values from .* to 1\.5")],
)
@pytest.mark.parametrize("method", ["encode", "reconstruct", "loss"])
def test_a_bad_sample_is_named_by_its_index_in_the_batch(
    exported, method, value, message, batch_size
):
    x = samples(10)
    x[7, 2, 3] = x[9, 0, 0] = value
    vae = vae_runtime.load(exported(), threads=1, batch_size=batch_size)
    with pytest.raises(InputError, match=message):
        getattr(vae, method)(x)


def test_mse_accepts_any_finite_value(exported):
    vae = vae_runtime.load(exported(*MODELS["vector"][0]), threads=1)
    assert np.isfinite(vae.loss(20 * samples(3, (12,)) - 10).loss).all()
    with pytest.raises(InputError, match="sample 0 has 12 values that are NaN or infinite"):
        vae.loss(np.full((1, 12), np.inf))


@pytest.mark.parametrize("method", ["encode", "reconstruct", "loss"])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((8, 8, 1), r"expected \(batch, 8, 8, 1\): add the batch axis, x\[None\]"),
        ((2, 8, 9, 1), "reshape or resize"),
        ((2, 64), "reshape or resize"),
        ((2, 8, 8, 3), "reshape or resize"),
    ],
)
def test_a_wrong_shape_is_refused(vae, method, shape, message):
    with pytest.raises(InputError, match=message):
        getattr(vae, method)(np.zeros(shape))


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (np.zeros((2, 4)), r"z has shape \(2, 4\), expected \(batch, 3\)"),
        ([[0, 0, np.inf]], "z row 0 has 1 values that are NaN or infinite"),
        ([[0, 0, 0], [0]], "z is not one array"),
        ([["a", "b", "c"]], "dtype <U1"),
    ],
)
def test_decode_refuses_invalid_latents(vae, z, message):
    with pytest.raises(InputError, match=message):
        vae.decode(z)


def test_latents_of_every_dtype_keep_their_values(vae):
    """Only pixels are divided by 255."""
    z, x = np.arange(6).reshape(2, 3), samples(2)
    decoded, losses = vae.decode(z.astype(np.float32)), vae.loss(x, z.astype(np.float32))
    for dtype in (np.uint8, np.int64, np.float16):
        np.testing.assert_array_equal(vae.decode(z.astype(dtype)), decoded)
        np.testing.assert_array_equal(vae.loss(x, z.astype(dtype)).loss, losses.loss)


def test_samples_are_determined_by_the_seed(vae):
    z = np.random.default_rng(4).standard_normal((5, 3)).astype(np.float32)
    np.testing.assert_array_equal(vae.sample(5, seed=4), vae.decode(z))
    np.testing.assert_array_equal(vae.sample(5), vae.sample(5, seed=0))
    assert (vae.sample(5, seed=1) != vae.sample(5, seed=2)).any()
    assert vae.sample(5).shape == (5, 8, 8, 1)


@pytest.mark.parametrize(("count", "seed"), [(-1, 0), (1, -1)])
def test_negative_counts_and_seeds_are_refused(vae, count, seed):
    with pytest.raises(OptionError, match=f"count {count} and seed {seed} must be 0 or more"):
        vae.sample(count, seed=seed)


def test_interpolation(vae):
    x = samples(2)
    line = vae.interpolate(x[0], x[1], steps=5)
    assert line.shape == (5, 8, 8, 1)
    np.testing.assert_allclose(line[[0, -1]], vae.reconstruct(x), **CLOSE)
    first, last = vae.encode(x).z_mean
    quarter = vae.decode((0.75 * first + 0.25 * last)[None])
    np.testing.assert_allclose(line[1:2], quarter, **CLOSE)
    np.testing.assert_allclose(vae.interpolate(x[0, ..., 0], x[1], 2), line[[0, -1]], **CLOSE)


def test_interpolation_refuses_invalid_arguments(vae):
    x = samples(2)
    with pytest.raises(OptionError, match="steps is 1, expected 2 or more"):
        vae.interpolate(x[0], x[1], steps=1)
    with pytest.raises(InputError, match="has shape"):
        vae.interpolate(x, x)
    with pytest.raises(InputError, match="not one array"):
        vae.interpolate([[1, 2], [3]], x[1])


@pytest.mark.parametrize("name", MODELS)
def test_another_batch_size_uses_the_same_sessions(exported, monkeypatch, name):
    arguments, shape = MODELS[name]
    vae = vae_runtime.load(exported(*arguments), threads=1)
    other = vae.with_batch_size(3)
    x = samples(8, shape)
    assert_same(results(other, x), results(vae, x))
    sizes, sessions = [], vae._chunks.sessions
    run = sessions.run

    def counted(graph, inputs, **options):
        sizes.append(len(inputs["x"]))
        return run(graph, inputs, **options)

    monkeypatch.setattr(sessions, "run", counted)
    vae.loss(x)
    other.loss(x)
    assert sizes == [8, 3, 3, 2]
    assert sessions.session("loss") is other._chunks.sessions.session("loss")


MANY = (3000, 64, 64, 1)
"""Shape of many samples; each has 16 KB as float32."""


def memory_mapped(folder):
    np.save(folder / "x.npy", np.zeros(MANY, np.float32))
    return np.load(folder / "x.npy", mmap_mode="r")


LAYOUTS = {
    "uint8": lambda _: np.zeros(MANY, np.uint8),
    "bool": lambda _: np.zeros(MANY, bool),
    "float16": lambda _: np.zeros(MANY, np.float16),
    "float64": lambda _: np.zeros(MANY, np.float64),
    "big-endian": lambda _: np.zeros(MANY, ">f4"),
    "float32": lambda _: np.zeros(MANY, np.float32),
    "every second pixel": lambda _: np.zeros((3000, 64, 128, 1), np.float32)[:, :, ::2],
    "Fortran order": lambda _: np.zeros(MANY, np.float32, order="F"),
    "reversed": lambda _: np.zeros(MANY, np.float32)[::-1],
    "without channels": lambda _: np.zeros(MANY[:-1], np.float32),
    "read-only": lambda _: np.frombuffer(bytes(4 * math.prod(MANY)), np.float32).reshape(MANY),
    "memory-mapped": memory_mapped,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scoring_never_copies_all_samples(exported, tmp_path, layout):
    """Scoring 49 MB of samples allocates at most 5 MB, results included."""
    vae = vae_runtime.load(exported(shape=(64, 64, 1)), threads=1, batch_size=64)
    x, eps = LAYOUTS[layout](tmp_path), np.zeros((MANY[0], 3))
    vae.loss(x[:1])
    tracemalloc.start()
    try:
        losses = vae.loss(x, eps)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert losses.loss.shape == MANY[:1]
    assert peak < 5e6


def test_scoring_never_copies_all_noise(vae):
    """The noise has 5 MB as float64, the results have 2.4 MB."""
    count = 200_000
    x, eps = np.zeros((count, 8, 8, 1), np.uint8), np.zeros((count, 3))
    vae.loss(x[:1])
    tracemalloc.start()
    try:
        vae.loss(x, eps)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3.5e6


SCORE_WITH_LIMIT = """
import resource, sys
import numpy, vae_runtime
vae = vae_runtime.load(sys.argv[1], threads=2)
x = numpy.load(sys.argv[2], mmap_mode="r")
vae.loss(x[:1000])
status = open("/proc/self/status").read()
now = 1024 * int(status.split("VmData:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_DATA, (now + (64 << 20),) * 2)
losses = vae.loss(x)
assert len(losses.loss) == len(x)
assert (losses.loss == losses.loss[0]).all()
try:
    numpy.ones(80 << 20, numpy.uint8)
except MemoryError:
    print("ok")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limit on private memory")
def test_a_file_of_gigabytes_is_scored_in_64_megabytes(exported, tmp_path):
    path = tmp_path / "x.npy"
    count = 260_000
    with path.open("wb") as file:  # 4.3 GB of zeros, which take no space on disk
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, 64, 64, 1)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + count * 64 * 64 * 4)
    result = subprocess.run(
        [sys.executable, "-c", SCORE_WITH_LIMIT, exported(shape=(64, 64, 1)), path],
        capture_output=True,
        text=True,
    )
    assert (result.stdout, result.stderr) == ("ok\n", "")


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_one_is_refused(vae, batch_size):
    with pytest.raises(OptionError, match=f"^batch_size is {batch_size}, expected 1 or more$"):
        vae.with_batch_size(batch_size)


def test_threads_may_share_one_object(exported):
    single = vae_runtime.load(exported(), threads=1)
    batches = [samples(1 + i % 5, seed=i) for i in range(64)]
    expected = [results(single, x) for x in batches]
    vae = vae_runtime.load(exported(), threads=1, batch_size=2)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda x: results(vae, x), batches))
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_providers_and_repr(vae):
    assert vae.providers == ["CPUExecutionProvider"]
    assert repr(vae) == "<VAERuntime 'small-vae': (8, 8, 1) -> 3, bce, float32 on cpu>"
    assert vae.manifest is vae.bundle.manifest


def test_an_overflow_is_an_error_not_a_nan(exported):
    vae = vae_runtime.load(exported("dense", "mse", (12,)))
    eps = np.zeros((3, 3), np.float32)
    eps[1] = 1e30
    with pytest.raises(InputError, match=r"loss of sample 1 is not finite: .* too large"):
        vae.loss(np.zeros((3, 12), np.float32), eps)


def test_small_samples_do_not_give_huge_chunks(exported):
    vae = vae_runtime.load(exported(shape=(1, 1, 1)), threads=1)
    sizes = []
    sessions = vae._chunks.sessions
    original = sessions.run

    def counted(graph, inputs, **options):
        sizes.append(len(inputs["x"]))
        return original(graph, inputs, **options)

    sessions.run = counted
    vae.loss(np.zeros((1000, 1, 1)))
    assert sizes == [256, 256, 256, 232]
