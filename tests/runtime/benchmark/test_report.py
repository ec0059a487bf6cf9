"""A report with given times: its tables, its JSON form and its recommendations."""

import json
from dataclasses import replace

import pytest

from vae_runtime.benchmark.cold_start import ColdStart
from vae_runtime.benchmark.report import BenchReport, recommend
from vae_runtime.benchmark.timing import Timing
from vae_runtime.errors import MeasurementError
from vae_runtime.files import strict_json
from vae_runtime.inference.tuning import Tuning, TuningKey, find_tuning

PLACE = TuningKey("ab" * 32, "1.2.3", ("cpu",), "Fast CPU", 4)


def timing(batch, threads, p50_ms, *, batch_size=256, p95=None, **labels):
    rate = 1000 * batch / p50_ms * (1 if batch_size == 256 else 2)  # unlike batch / p50
    names = {"runtime": "ONNX Runtime 1.2.3", "precision": "float32", **labels}.values()
    return Timing(*names, batch, threads, batch_size, 10, p50_ms, p95, None, rate, 0.0123)


def chunks(precision="float32", **times):
    """`chunks(t1_b64=2.0)`: 512 samples in chunks of 64 on one thread take 2 ms."""
    keys = [tuple(int(part[1:]) for part in name.split("_")) for name in times]
    return tuple(
        timing(512, threads, p50, batch_size=size, precision=precision)
        for (threads, size), p50 in zip(keys, times.values(), strict=True)
    )


@pytest.mark.parametrize(
    ("table", "best"),
    [
        (chunks(t1_b64=2.0, t1_b128=1.9, t2_b64=1.1, t2_b128=1.0), Tuning(2, 128)),
        (chunks(t1_b64=2.0, t1_b128=1.0, t2_b64=1.1, t2_b128=1.2), Tuning(1, 128)),
        (chunks(t1_b64=1.02, t2_b64=1.0), Tuning(1, 64)),
        (chunks(t1_b64=1.04, t2_b64=1.0), Tuning(2, 64)),
        (chunks(t2_b256=1.0, t2_b128=1.02, t2_b64=1.04), Tuning(2, 128)),
        (chunks(t2_b256=1.0, t2_b128=1.02, t1_b512=1.03), Tuning(1, 512)),
        (chunks(t4_b8=3.0), Tuning(4, 8)),
    ],
    ids=range(7),
)
def test_the_fastest_is_recommended_and_ties_go_to_the_fewest_threads(table, best):
    assert recommend(table) == best
    assert recommend(table[::-1]) == best


@pytest.fixture
def report():
    table = chunks(t1_b64=12.0, t2_b64=8.0, t1_b256=10.0, t2_b256=6.4)
    return BenchReport(
        name="small-vae",
        place=PLACE,
        rounds=7,
        timings=(
            timing(1, 1, 0.123, p95=0.2),
            timing(1, 2, 0.25),
            timing(8192, 1, 1234.0),
            timing(8192, 2, 56.78),
        ),
        peers=(
            timing(1, 1, 1.23, batch_size=None, runtime="TensorFlow 9.9.9"),
            timing(8192, 2, 113.56, batch_size=None, runtime="TensorFlow 9.9.9"),
        ),
        chunks=table,
        cold_starts=(
            ColdStart("ONNX Runtime 1.2.3", "float32", 5, 234.4, 200, 300, 82.3),
            ColdStart("TensorFlow 9.9.9", "float32", 1, 3456.0, 3456, 3456, None),
        ),
        recommendations={"float32": recommend(table)},
        left_out=(65536,),
        noise=(),
    )


TABLE = """\
small-vae on Fast CPU, 4 usable, cpu, ONNX Runtime 1.2.3; 7 rounds

 batch threads         p50         p95         p99   samples/s  spread       TensorFlow 9.9.9, p50
     1       1    0.123 ms    0.200 ms           -       8,130    1.2%            1.23 ms   10.0 x
     1       2    0.250 ms           -           -       4,000    1.2%
  8192       1    1,234 ms           -           -       6,639    1.2%
  8192       2     56.8 ms           -           -     144,276    1.2%             114 ms    2.0 x
batch 65536 left out, as one call takes too long: give --batch or more --seconds

512 samples in chunks, samples/s at the median
batch_size      1 thread     2 threads
        64        42,667        64,000
       256        51,200        80,000

cold start of ONNX Runtime 1.2.3: 234 ms (200 to 300, 5 processes), 82 MB resident
cold start of TensorFlow 9.9.9: 3,456 ms (3,456 to 3,456, 1 process)
fastest for large batches: threads=2, batch_size=256
fastest for one sample: threads=1, 0.123 ms"""


def test_the_table(report):
    assert str(report) == TABLE
    assert max(map(len, TABLE.splitlines())) <= 100


@pytest.fixture
def report_with_variant(report):
    """The report of a bundle that has a variant."""
    int8 = chunks(t1_b64=5.0, t2_b64=4.0, t1_b256=5.1, t2_b256=4.5, precision="int8")
    first, *others = report.timings
    one, *starts = report.cold_starts
    return replace(
        report,
        timings=(
            first,
            timing(1, 1, 0.0615, precision="int8"),
            *others,
            timing(8192, 2, 28.39, precision="int8"),
        ),
        chunks=(*report.chunks, *int8),
        cold_starts=(one, replace(one, precision="int8", median_ms=123.4), *starts),
        recommendations={**report.recommendations, "int8": recommend(int8)},
    )


TABLE_WITH_VARIANT = """\
small-vae on Fast CPU, 4 usable, cpu, ONNX Runtime 1.2.3; 7 rounds

 batch threads precision       p50       p95       p99 samples/s spread /float32   TensorFlow 9.9.9
     1       1   float32  0.123 ms  0.200 ms         -     8,130   1.2%     1.00    1.23 ms  10.0 x
     1       1      int8  0.061 ms         -         -    16,260   1.2%     0.50    1.23 ms  20.0 x
     1       2   float32  0.250 ms         -         -     4,000   1.2%     1.00
  8192       1   float32  1,234 ms         -         -     6,639   1.2%     1.00
  8192       2   float32   56.8 ms         -         -   144,276   1.2%     1.00     114 ms   2.0 x
  8192       2      int8   28.4 ms         -         -   288,552   1.2%     0.50     114 ms   4.0 x
batch 65536 left out, as one call takes too long: give --batch or more --seconds

512 samples in chunks, samples/s at the median
precision batch_size      1 thread     2 threads
float32           64        42,667        64,000
float32          256        51,200        80,000
int8              64       102,400       128,000
int8             256       100,392       113,778

cold start of ONNX Runtime 1.2.3 in float32: 234 ms (200 to 300, 5 processes), 82 MB resident
cold start of ONNX Runtime 1.2.3 in int8: 123 ms (200 to 300, 5 processes), 82 MB resident
cold start of TensorFlow 9.9.9 in float32: 3,456 ms (3,456 to 3,456, 1 process)
fastest for large batches in float32: threads=2, batch_size=256
fastest for one sample in float32: threads=1, 0.123 ms
fastest for large batches in int8: threads=2, batch_size=64"""


def test_the_table_with_a_variant(report_with_variant):
    assert str(report_with_variant) == TABLE_WITH_VARIANT
    assert max(map(len, TABLE_WITH_VARIANT.splitlines())) <= 100


def test_the_ratio_is_empty_if_float32_was_not_measured(report_with_variant):
    int8 = {
        name: tuple(t for t in getattr(report_with_variant, name) if t.precision == "int8")
        for name in ("timings", "chunks", "cold_starts")
    }
    recommendations = {"int8": report_with_variant.recommendations["int8"]}
    lines = str(replace(report_with_variant, **int8, recommendations=recommendations)).splitlines()
    assert lines[3].split()[2:4] == ["int8", "0.061"] and lines[3].split()[-5] == "-"


def test_noise_is_reported_last(report):
    text = str(replace(report, noise=("rounds differ", "others work")))
    assert text == f"{TABLE}\nTOO NOISY to tell what is fastest:\n  rounds differ\n  others work"


def test_the_json_form(report):
    """The keys are public: a change of this list needs an entry in the changelog."""
    data = json.loads(json.dumps(report.to_dict()))
    assert list(data) == [
        "name",
        "place",
        "rounds",
        "timings",
        "peers",
        "chunks",
        "cold_starts",
        "recommendations",
        "left_out",
        "noise",
    ]
    assert data["place"] == {
        "bundle": "ab" * 32,
        "onnxruntime": "1.2.3",
        "providers": ["cpu"],
        "processor": "Fast CPU",
        "processors": 4,
    }
    assert data["timings"][0] == {
        "runtime": "ONNX Runtime 1.2.3",
        "precision": "float32",
        "batch": 1,
        "threads": 1,
        "batch_size": 256,
        "calls": 10,
        "p50_ms": 0.123,
        "p95_ms": 0.2,
        "p99_ms": None,
        "samples_per_second": pytest.approx(8130.08),
        "spread": 0.0123,
    }
    assert data["cold_starts"][0] == {
        "runtime": "ONNX Runtime 1.2.3",
        "precision": "float32",
        "starts": 5,
        "median_ms": 234.4,
        "fastest_ms": 200,
        "slowest_ms": 300,
        "resident_mb": 82.3,
    }
    assert data["recommendations"] == {"float32": {"threads": 2, "batch_size": 256}}


def test_the_json_form_has_the_annotated_types(report):
    assert strict_json.parse(BenchReport, json.loads(json.dumps(report.to_dict()))) == report


def test_save(report, tunings):
    with pytest.raises(MeasurementError, match=r"too noisy .* \(rounds differ\): nothing was save"):
        replace(report, noise=("rounds differ",)).save()
    assert find_tuning(PLACE, "float32") is None
    (path,) = report.save()
    assert path.parent == tunings
    assert find_tuning(PLACE, "float32") == Tuning(2, 256)


def test_each_precision_is_saved_separately(report_with_variant, tunings):
    assert len(set(report_with_variant.save())) == 2
    assert find_tuning(PLACE, "float32") == Tuning(2, 256)
    assert find_tuning(PLACE, "int8") == Tuning(2, 64)
    assert find_tuning(PLACE, "float16") is None
