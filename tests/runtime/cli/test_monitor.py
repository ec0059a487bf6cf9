"""`monitor`: files and standard input as one stream, and what it prints and returns."""

import io
import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from messages import one_line
from no_figures import no_figures
from vae_export import Provenance, export
from vae_runtime import DriftMonitor, InputWarning, LossSpec, load
from vae_runtime.bundle.fields import DataSpec
from vae_runtime.data.tables.encoding import ColumnEncoding, TableEncoding


@pytest.fixture(scope="module")
def calibrated(small_models, tmp_path_factory):
    """Return a function that exports a model calibrated on 300 uniform samples."""
    known = {}

    def make(shape, loss="mse", data=None, **options):
        if (shape, loss) not in known:
            x = np.random.default_rng(5).random((600, *shape), dtype=np.float32)
            if options.get("input_dtype") == "uint8":
                x = (255 * x).astype(np.uint8)
            path = tmp_path_factory.mktemp("bundle") / "small-vae"
            options["provenance"] = Provenance(data)
            with no_figures():
                export(*small_models("dense", shape), x, path, loss=LossSpec(loss), **options)
            known[shape, loss] = path
        return known[shape, loss]

    return make


@pytest.fixture
def stdin(monkeypatch):
    """Return a function that sets what standard input holds."""

    def hold(text):
        stream = io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8")
        monkeypatch.setattr("sys.stdin", stream)

    return hold


@pytest.fixture
def table(calibrated):
    """A bundle for 12 columns without names."""
    return calibrated((12,))


@pytest.fixture
def rows():
    """Quiet for 100 rows; then too large."""
    x = np.random.default_rng(6).random((160, 12), dtype=np.float32)
    x[100:] += 2
    return x


def lines(x):
    return "".join(json.dumps(row.tolist()) + "\n" for row in x)


def test_a_file_each_day(table, rows, tmp_path, call):
    """Without drift the status is 0, from the alarm on it is 1."""
    words = ("monitor", table, "--state", tmp_path / "drift.json")
    found = []
    for day, x in enumerate((rows[:50], rows[50:100], rows[100:], rows[:10])):
        np.savetxt(tmp_path / f"{day}.csv", x, delimiter=",")
        status, out, err = call(*words[:2], tmp_path / f"{day}.csv", *words[2:])
        assert err == ""
        found.append((status, out.splitlines()[0].split(":")[0]))
    quiet = [(0, "50 samples, no drift found"), (0, "100 samples, no drift found")]
    assert found == [*quiet, (1, "drift"), (1, "drift")]


def test_standard_input_is_the_same_stream_as_a_file(table, rows, tmp_path, call, stdin):
    np.save(tmp_path / "x.npy", rows)
    as_file = ("monitor", table, tmp_path / "x.npy", "--state", tmp_path / "a.json", "--json")
    status, out, _ = call(*as_file)
    expected = json.loads(out)
    assert status == 1 and expected["alarm_at"] >= 100
    stdin(lines(rows[:97]))
    words = ("monitor", table, "-", "--state", tmp_path / "b.json", "--json")
    assert call(*words)[0] == 0
    stdin(lines(rows[97:]))
    status, out, err = call(*words[:2], "/dev/stdin", *words[3:])
    at_once, last = map(json.loads, out.splitlines())
    assert (status, err) == (1, "")
    assert at_once["alarm_at"] == last["alarm_at"] == expected["alarm_at"]
    for name in ("log_martingale", "log_maximum"):  # losses of other batches round differently
        assert last.pop(name) == pytest.approx(expected.pop(name))
    assert last == expected


def test_objects_are_taken_by_name(calibrated, rows, tmp_path, call, stdin):
    """Categories are encoded; gaps and text that is no number make a sample unusual."""
    table = TableEncoding(
        (
            ColumnEncoding("a", "number"),
            ColumnEncoding("colour", "category", ("blue", "red")),
            ColumnEncoding("b", "number"),
        )
    )
    data = DataSpec("table", "0" * 64, 10, 0, 0, None, table.elements, table=table)
    x = rows[:20, :4].copy()
    x[:, 1:3] = np.eye(2)[np.arange(20) % 3 // 2]
    bundle = calibrated((4,), data=data)
    colours = ["blue", "blue", "red"] * 7
    records = [
        {"b": float(row[3]), "other": "text", "colour": colour, "a": float(row[0])}
        for row, colour in zip(x, colours, strict=False)
    ]
    del records[7]["b"]
    records[9]["a"] = None
    records[11]["b"] = "broken"
    records[12]["colour"] = "green"
    stdin("\n".join(map(json.dumps, records)))
    words = ("monitor", bundle, "-", "--state", tmp_path / "s.json", "--json")
    status, out, err = call(*words, "--delta", "1e-9")
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert (report["samples"], report["unscorable"]) == (20, 4)
    x[[7, 9, 11, 12]] = np.nan
    with pytest.warns(InputWarning, match="7, 9, 11, 12 of 20 cannot be scored"):
        monitor = DriftMonitor(load(bundle), state=tmp_path / "t.json", delta=1e-9)
        expected = monitor.update(x).to_dict()
    for name in ("log_martingale", "log_maximum"):
        assert report.pop(name) == pytest.approx(expected.pop(name))
    assert report == expected


def test_a_sensor_that_died_is_an_alarm(table, tmp_path, call, stdin):
    """Rows of which none can be scored are no mistake of the user here."""
    stdin("[" + ", ".join(["null"] * 12) + "]\n" + "[1e300" + ", 0" * 11 + "]\n" * 1)
    words = ("monitor", table, "-", "--state", tmp_path / "s.json", "--json")
    status, out, _ = call(*words)
    assert (status, json.loads(out)["unscorable"]) == (0, 2)
    stdin(("[" + ", ".join(["null"] * 12) + "]\n") * 40)
    assert call(*words)[0] == 1


def test_pictures_on_standard_input(calibrated, images, tmp_path, call, stdin):
    words = ("monitor", calibrated((8, 8, 1), "bce"), "-", "--state", tmp_path / "s.json", "--json")
    stdin(lines(images[:5] / 255) + lines(images[5:9, ..., 0] / 255))
    status, out, _ = call(*words)
    assert (status, json.loads(out)["samples"], json.loads(out)["unscorable"]) == (0, 9, 0)
    stdin("[[1, 2], [3, 4]]\n")
    status, out, err = call(*words)
    assert (status, out) == (3, "")
    assert "line 1, is no array of the shape (8, 8, 1)" in one_line(err)


def test_pixels_of_a_uint8_model(calibrated, images, tmp_path, call, stdin):
    bundle = calibrated((8, 8, 1), input_dtype="uint8")
    words = ("monitor", bundle, "-", "--state", tmp_path / "s.json", "--json")
    stdin(lines(images[:5]))
    status, out, _ = call(*words)
    assert (status, json.loads(out)["unscorable"]) == (0, 0)
    stdin(lines(images[:1] / 255))
    status, _, err = call(*words)
    assert status == 3 and "line 1, has values that are not uint8" in one_line(err)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{oops\n", "standard input, line 4, is not JSON"),
        ("\xff\n", "standard input, line 4, is not JSON"),
        ('"text"\n', 'standard input, line 4, is "text", expected an array'),
        ('{"a": 1}\n', 'standard input, line 4, is {"a": 1}, expected an array'),
    ],
)
def test_a_bad_line_ends_it_by_name(table, rows, bad, message, tmp_path, call, stdin):
    stdin(lines(rows[:2]) + "\n" + bad + lines(rows[2:]))
    words = ("monitor", table, "-", "--state", tmp_path / "s.json")
    status, out, err = call(*words)
    assert (status, out) == (3, "") and message in one_line(err)
    stdin("")
    assert call(*words)[1].startswith("2 samples, no drift")


def test_a_first_line_without_the_columns(table, tmp_path, call, stdin):
    stdin('{"a": 1}\n')
    status, _, err = call("monitor", table, "-", "--state", tmp_path / "s.json")
    assert status == 3 and "line 1, has 1 values, the model takes 12" in one_line(err)


def test_a_file_is_in_the_state_when_all_of_it_is(table, rows, tmp_path, call, monkeypatch):
    np.savetxt(tmp_path / "x.csv", rows[:, :5], delimiter=",")
    words = ("monitor", table, tmp_path / "x.csv", "--state", tmp_path / "s.json")
    assert call(*words)[0] == 3
    assert not (tmp_path / "s.json").exists()


def test_errors_about_the_state(table, rows, tmp_path, call):
    np.savetxt(tmp_path / "x.csv", rows, delimiter=",")
    words = ("monitor", table, tmp_path / "x.csv", "--state")
    (tmp_path / "s.json").write_text("{}")
    status, _, err = call(*words, tmp_path / "s.json")
    assert status == 3 and "s.json is no state of this monitor" in one_line(err)
    status, _, err = call(*words, tmp_path / "none" / "s.json")
    assert status == 3 and "none is not a folder" in one_line(err)
    assert call(*words, tmp_path / "t.json", "--delta", "0.2")[0] == 1
    status, _, err = call(*words, tmp_path / "t.json", "--delta", "0.1")
    assert status == 3 and "delta is 0.1" in one_line(err)
    assert call(*words, tmp_path / "t.json", "--delta", "0")[0] == 2


MONITOR = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, if the tests run in background
from vae_runtime.cli.main import main
main()
"""


@pytest.fixture
def process(table, tmp_path):
    """A monitor that waits for lines."""
    words = ("monitor", table, "-", "--state", tmp_path / "s.json")
    with subprocess.Popen(
        [sys.executable, "-c", MONITOR, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        yield child
        child.kill()


def test_the_alarm_is_printed_at_once_and_ctrl_c_leaves_a_good_state(
    process, table, rows, tmp_path, call, stdin
):
    """While the stream is still open."""
    process.stdin.write(lines(rows))
    process.stdin.flush()
    assert process.stdout.readline().startswith("drift: alarm at sample 1")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.lstrip().startswith("Interrupted: the state file holds ")
    counted = int(err.split("holds ")[1].split()[0])
    assert 100 < counted <= 160
    stdin("")
    status, out, _ = call("monitor", table, "-", "--state", tmp_path / "s.json", "--json")
    assert (status, json.loads(out)["samples"]) == (1, counted)


def test_the_end_of_the_stream(process, rows):
    out, err = process.communicate(lines(rows[:100]), timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("100 samples, no drift found\nmartingale ")
