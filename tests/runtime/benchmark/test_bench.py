"""Short measurements of a small bundle; the times themselves do not matter."""

import json
from contextlib import contextmanager

import numpy as np
import pytest

from vae_runtime import bench
from vae_runtime.benchmark.bench import DEFAULT_BATCHES, default_threads
from vae_runtime.benchmark.report import BenchReport, recommend
from vae_runtime.errors import BundleError, OptionError, ProviderError
from vae_runtime.files import strict_json
from vae_runtime.inference.processors import usable_processors
from vae_runtime.inference.runtime import VAERuntime


class FakePeer:
    """Peer that reports fixed values."""

    name = "Other 1.0"
    threads = 1
    start_seconds = 2.0
    resident_bytes = 5_000_000

    def __init__(self):
        self.batches = []
        self.state = "new"

    @contextmanager
    def start(self, threads, gpu):
        assert (threads, gpu) == ((1, 2), False)
        self.state = "started"
        yield [self]
        self.state = "ended"

    def measure(self, batch, seconds, *, warm):
        self.batches.append(batch)
        return [0.5, 0.5]


@pytest.fixture(scope="module")
def peer():
    return FakePeer()


@pytest.fixture(scope="module")
def calls():
    return []


@pytest.fixture(scope="module")
def report(exported, peer, calls):
    loss = VAERuntime.loss

    def counted(vae, x, eps=None, condition=None):
        calls.append((x.dtype, vae._chunks.sessions.threads, vae._chunks.batch_size, len(x)))
        return loss(vae, x, eps, condition=condition)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VAERuntime, "loss", counted)
        return bench(
            exported(),
            providers="CPUExecutionProvider",
            batches=(1, 300, 1),
            threads=(1, 2, 1),
            seconds=0.5,
            peers=peer.start,
        )


def test_every_batch_is_timed_with_every_thread_count(report):
    keys = [(t.batch, t.threads, t.batch_size) for t in report.timings]
    assert keys == [(1, 1, 256), (1, 2, 256), (300, 1, 256), (300, 2, 256)]
    assert report.rounds >= 3
    assert all(t.calls >= report.rounds and t.p50_ms > 0 for t in report.timings)
    assert all(t.runtime.startswith("ONNX Runtime ") for t in report.timings)


def test_chunks_are_timed_on_a_batch_that_all_sizes_divide(report):
    keys = {(t.batch_size, t.threads) for t in report.chunks}
    sizes = {size for size, _ in keys}
    assert sizes and sizes <= {64, 128, 256, 512, 1024, 2048}
    assert keys == {(size, threads) for size in sizes for threads in (1, 2)}
    assert {t.batch for t in report.chunks} == {max(sizes)}


def test_the_timed_call_is_the_one_that_users_make(report, calls):
    assert {dtype for dtype, *_ in calls} == {np.dtype(np.float32)}
    made = {key for _, *key in calls for key in [tuple(key)]}
    timed = {(t.threads, t.batch_size, t.batch) for t in (*report.timings, *report.chunks)}
    assert timed <= made
    for timing in report.timings:
        key = (timing.threads, timing.batch_size, timing.batch)
        assert sum(tuple(call[1:]) == key for call in calls) >= timing.calls


def test_peers_are_timed_and_ended(report, peer):
    assert set(peer.batches) == {1, 300}
    assert peer.state == "ended"
    assert [(t.runtime, t.batch, t.batch_size) for t in report.peers] == [
        ("Other 1.0", 1, None),
        ("Other 1.0", 300, None),
    ]
    assert report.peers[1].p50_ms == 500
    assert report.peers[1].samples_per_second == 600
    ours, other = report.cold_starts
    assert ours.starts == 5
    assert (other.runtime, other.median_ms, other.resident_mb) == ("Other 1.0", 2000, 5)


def test_the_report_has_the_annotated_types(report):
    data = json.loads(json.dumps(report.to_dict()))
    assert strict_json.parse(BenchReport, data) == report
    assert report.left_out == ()
    assert report.place.processors == usable_processors()
    (best,) = report.recommendations.values()
    assert (best.threads, best.batch_size) in {(t.threads, t.batch_size) for t in report.chunks}


def test_variants_are_timed_like_float32(with_variant, monkeypatch):
    monkeypatch.setattr("vae_runtime.benchmark.bench.COLD_STARTS", 1)
    loss, ran, compared = VAERuntime.loss, [], []

    def recorded_recommend(chunks):
        compared.append({chunk.precision for chunk in chunks})
        return recommend(chunks)

    monkeypatch.setattr("vae_runtime.benchmark.bench.recommend", recorded_recommend)
    monkeypatch.setattr(
        VAERuntime,
        "loss",
        lambda vae, x, **given: ran.append((vae.precision, len(x))) or loss(vae, x, **given),
    )
    report = bench(with_variant, batches=(1, 3), threads=(1,), seconds=0.1)
    both = ("float32", "float16")
    assert [(t.batch, t.precision) for t in report.timings] == [
        (b, p) for b in (1, 3) for p in both
    ]
    sizes = {p: [t.batch_size for t in report.chunks if t.precision == p] for p in both}
    assert sizes["float32"] == sizes["float16"] != []
    assert tuple(report.recommendations) == both and compared == [{"float32"}, {"float16"}]
    assert [start.precision for start in report.cold_starts] == list(both)
    for timing in report.timings:
        assert ran.count((timing.precision, timing.batch)) >= timing.calls
    assert strict_json.parse(BenchReport, json.loads(json.dumps(report.to_dict()))) == report


def test_only_the_requested_precisions_are_timed(with_variant, monkeypatch):
    monkeypatch.setattr("vae_runtime.benchmark.bench.COLD_STARTS", 1)
    asked = ("float16", "float16")
    report = bench(with_variant, batches=(1,), threads=(1,), seconds=0.1, precisions=asked)
    assert {t.precision for t in (*report.timings, *report.chunks)} == {"float16"}
    assert tuple(report.recommendations) == ("float16",)


def test_default_batches_that_take_too_long_are_left_out(exported, monkeypatch):
    monkeypatch.setattr("vae_runtime.benchmark.bench.timed_calls", lambda *_, **__: [0.0256])
    monkeypatch.setattr("vae_runtime.benchmark.bench.COLD_STARTS", 1)
    report = bench(exported(), threads=(1,), seconds=20 * 0.02561)
    assert [t.batch for t in report.timings] == [1, 32, 256]
    assert report.left_out == (1024, 8192)
    assert {t.batch_size for t in report.chunks} == {64, 128, 256}
    assert DEFAULT_BATCHES == (1, 32, 256, 1024, 8192)


def test_the_first_of_the_default_batches_is_never_left_out(exported, monkeypatch):
    monkeypatch.setattr("vae_runtime.benchmark.bench.timed_calls", lambda *_, **__: [1000.0])
    monkeypatch.setattr("vae_runtime.benchmark.bench.COLD_STARTS", 1)
    report = bench(exported(), threads=(1,), seconds=0.1)
    assert [t.batch for t in report.timings] == [1]
    assert {t.batch_size for t in report.chunks} == {64}


def test_default_threads():
    assert default_threads() == tuple(sorted({1, usable_processors()}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches": ()}, r"batches is \(\), expected numbers above 0"),
        ({"batches": (1, 0)}, r"batches is \(1, 0\), expected numbers above 0"),
        ({"threads": (0,)}, r"threads is \(0,\), expected numbers above 0"),
        ({"threads": ()}, r"threads is \(\), expected"),
        ({"seconds": 0}, r"seconds is \(0,\), expected"),
        ({"precisions": ()}, r"precisions is \(\), expected names such as float32"),
        ({"precisions": ("float32", "int8")}, r"precision is 'int8', .* has float32: choose one"),
    ],
)
def test_invalid_options_are_refused(exported, options, message):
    with pytest.raises(OptionError, match=message):
        bench(exported(), **options)


def test_a_bundle_that_cannot_be_loaded_is_refused_before_measuring(exported, tmp_path):
    peer = FakePeer()
    with pytest.raises(BundleError):
        bench(tmp_path)
    with pytest.raises(ProviderError, match="'warp' is not in"):
        bench(exported(), providers="warp", peers=peer.start)
    assert peer.state == "new"
