"""Samples of each kind of source, and rows that hold none."""

import io
import json

import numpy as np
import pytest

from cluster_sources import content, random_images, read_parts, write_images
from vae_export import Provenance
from vae_runtime import InputError, InputWarning, cluster, load
from vae_runtime.bundle.fields import DataSpec
from vae_runtime.cluster.job import Reading
from vae_runtime.cluster.samples.blocks import Block, rebatched
from vae_runtime.cluster.samples.columns import holds_samples, to_samples

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

pytestmark = pytest.mark.usefixtures("in_process")

X = random_images(5)
FLAT = [x.ravel().tolist() for x in X]
NESTED = X[..., 0].tolist()
READING = Reading("source")


def png(x):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(x[..., 0]).save(file, "png")
    return file.getvalue()


def tensors():
    kind = pa.fixed_shape_tensor(pa.uint8(), (8, 8, 1))
    return pa.ExtensionArray.from_storage(kind, pa.array(FLAT, pa.list_(pa.uint8(), 64)))


COLUMNS = {
    "list": lambda: pa.array(FLAT, pa.list_(pa.uint8())),
    "large list": lambda: pa.array(FLAT, pa.large_list(pa.uint8())),
    "fixed list": lambda: pa.array(FLAT, pa.list_(pa.uint8(), 64)),
    "nested list": lambda: pa.array(NESTED, pa.list_(pa.list_(pa.uint8()))),
    "nested fixed list": lambda: pa.array(NESTED, pa.list_(pa.list_(pa.uint8(), 8), 8)),
    "tensor": tensors,
    "bytes": lambda: pa.array([x.tobytes() for x in X]),
    "picture": lambda: pa.array([png(x) for x in X]),
    "struct": lambda: pa.array([{"bytes": png(x), "path": "a"} for x in X]),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("part", [slice(None), slice(1, 4), slice(2, 2)])
def test_a_column_of_arrays(name, part):
    column = COLUMNS[name]()
    column = column[part.start or 0 : part.stop] if part.stop is not None else column
    assert holds_samples(column.type)
    x, bad = to_samples(column, (8, 8, 1), READING)
    assert (x.dtype, bad) == (np.uint8, {})
    assert np.array_equal(x, X[part])


@pytest.mark.parametrize("kind", [pa.int64(), pa.string(), pa.timestamp("s"), pa.bool_()])
def test_a_column_of_single_values_holds_no_samples(kind):
    assert not holds_samples(kind)


def with_nulls(kind):
    rows = [FLAT[0], None, FLAT[1], [*FLAT[2][:-1], None], FLAT[3]]
    if not pa.types.is_fixed_size_list(kind):
        rows += [FLAT[0][:7], []]
    return pa.array(rows, kind)


@pytest.mark.parametrize("kind", [pa.list_(pa.uint8()), pa.list_(pa.uint8(), 64)])
def test_rows_that_hold_no_sample(kind):
    x, bad = to_samples(with_nulls(kind), (8, 8, 1), READING)
    assert x.dtype == np.uint8  # a null must not make floats of pixels
    assert np.array_equal(x[[0, 2, 4]], X[[0, 1, 3]])
    assert bad[1] == bad[3] == "has no value"
    if not pa.types.is_fixed_size_list(kind):
        assert bad.pop(5) == "has 7 values, the model takes 64"
        assert bad.pop(6) == "has 0 values, the model takes 64"
    assert {*bad} == {1, 3}


def test_bytes_that_are_no_sample():
    cells = [X[0].tobytes(), None, b"short", png(X[1])[:40], png(np.zeros((9, 8, 1), np.uint8))]
    x, bad = to_samples(pa.array(cells), (8, 8, 1), READING)
    assert np.array_equal(x[0], X[0])
    assert bad[1] == "has no value"
    assert bad[2] == "has 5 bytes, the model takes 64"
    assert "not a readable picture" in bad[3]
    assert "is 9x8 (height x width), the model takes 8x8: give --image-size 8x8" in bad[4]


def test_lists_of_text_are_refused():
    with pytest.raises(InputError, match="a list holds string, expected numbers"):
        to_samples(pa.array([["a"]]), (1,), READING)


def test_blocks_have_the_size_of_chunks_wherever_a_file_is_divided():
    lengths, size = [3, 0, 1, 7, 2], 4
    blocks, first = [], 0
    for n in lengths:
        rows = np.arange(first, first + n)
        names = tuple(map(str, rows))
        bad = {i: str(first + i) for i in range(n) if (first + i) % 5 == 0}
        blocks.append(Block(rows[:, None] * 10, rows, names, bad))
        first += n
    found = list(rebatched(blocks, size))
    assert [len(block) for block in found] == [4, 4, 4, 1]
    rows = np.concatenate([block.rows for block in found])
    assert rows.tolist() == list(range(13))
    for block in found:
        assert np.array_equal(block.x[:, 0], block.rows * 10)
        assert block.files == tuple(map(str, block.rows))
        named = {int(block.rows[i]): int(text) for i, text in block.bad.items()}
        assert named == {n: n for n in block.rows.tolist() if n % 5 == 0}


def score(bundle, source, out, **options):
    report = cluster.score(source, bundle, out, workers=1, **options)
    return report, read_parts(out)


def check(table, expected, rows=slice(None)):
    for name, values in expected.items():
        assert np.array_equal(np.array(table.column(name))[rows], values[rows]), name


def test_arrays_and_pictures(exported, score_alone, tmp_path):
    from PIL import Image

    x = random_images(600)
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "a.npy", x)  # parts of whole chunks
    np.savez(tmp_path / "arrays" / "b.npz", x=x[:40, ..., 0], y=np.zeros(40))
    report, table = score(exported(), tmp_path / "arrays", tmp_path / "1", part_rows=300)
    assert (report.parts, report.rows) == (4, 640)
    check(table.slice(0, 600), score_alone(x))
    check(table.slice(600), score_alone(x[:40]))
    assert table.column("row").to_pylist() == [*range(600), *range(40)]

    (tmp_path / "pictures" / "deep").mkdir(parents=True)
    for i in range(7):
        Image.fromarray(x[i, ..., 0]).save(tmp_path / "pictures" / "deep" / f"{i}.png")
    pages = [Image.fromarray(page[..., 0]) for page in x[7:9]]
    pages[0].save(tmp_path / "pictures" / "stack.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "pictures" / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    report, table = score(exported(), tmp_path / "pictures", tmp_path / "2", part_rows=4)
    assert (report.parts, report.rows, report.bad) == (3, 10, 1)
    files = ["bad.jpg", *(f"deep/{i}.png" for i in range(7)), "stack.tif", "stack.tif"]
    assert table.column("file").to_pylist() == files
    assert table.column("row").to_pylist() == [0] * 9 + [1]
    for i in range(9):  # chunks of other sizes round in other places
        np.testing.assert_allclose(
            table.column("score")[i + 1].as_py(), score_alone(x[:9])["score"][i], rtol=1e-5
        )
    (text,) = (text for name, text in content(tmp_path / "2").items() if "errors" in name)
    errors = json.loads(text)
    assert errors["file"] == "bad.jpg"
    assert "not a readable picture" in errors["reason"]


def test_a_bad_row_costs_no_other_its_score(exported, score_alone, tmp_path):
    """Rows of floats: one is out of range, one is NaN, one is short, one has no value."""
    x = random_images(300).astype(np.float32) / np.float32(255)
    good = score_alone(x)
    rows = [row.ravel().tolist() for row in x]
    rows[3][0], rows[100][5] = 2.5, float("nan")
    rows[200], rows[299] = rows[200][:-1], None
    path = tmp_path / "in" / "x.parquet"
    path.parent.mkdir()
    ids = [f"id {i}" for i in range(300)]
    pq.write_table(pa.table({"row": ids, "x": pa.array(rows, pa.list_(pa.float32()))}), path)
    report, table = score(exported(), path, tmp_path / "out", ids=["row"], alpha=0.2)
    assert (report.rows, report.bad, report.passed) == (300, 4, True)
    assert "x.parquet, row 3 has values from 0.0235294 to 2.5" in str(report)
    bad = [3, 100, 200, 299]
    is_good = ~np.isin(np.arange(300), bad)
    check(table, good, is_good)
    assert table.column("id_row").to_pylist() == ids  # the scores have a column of that name
    assert np.isinf(np.array(table.column("loss"))[bad]).all()
    assert np.isinf(np.array(table.column("score"))[bad]).all()
    smallest = np.float32(load(exported()).calibration.smallest_p_value)
    assert {*np.array(table.column("p_value"))[bad].tolist()} == {float(smallest)}
    (text,) = (text for name, text in content(tmp_path / "out").items() if "errors" in name)
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["row"] for line in lines] == bad
    assert [line["id_row"] for line in lines] == [ids[i] for i in bad]
    reasons = [
        "values from 0.0235294 to 2.5",
        "1 values that are NaN",
        "63 values",
        "no value",
    ]
    for line, reason in zip(lines, reasons, strict=True):
        assert reason in line["reason"]
    with pytest.raises(InputError, match=r"^x\.parquet, row 3 has values .*leave out --strict"):
        score(exported(), path, tmp_path / "strict", strict=True)


def test_a_table_with_a_column_from_its_folder(tmp_path, exported):
    """A model that takes columns by name finds them in the file and in the names of folders."""
    rng = np.random.default_rng(1)
    data = DataSpec("rows.csv", "0" * 64, 30, 5, 5, 0, ("a", "b", "year"))
    bundle = exported("dense", "mse", (3,), provenance=Provenance(data=data))
    tables = {}
    for year in (1, 2):
        tables[year] = rng.normal(size=(50, 2))
        path = tmp_path / "in" / f"year={year}" / "x.parquet"
        path.parent.mkdir(parents=True)
        columns = {"b": tables[year][:, 1], "key": range(50), "a": tables[year][:, 0]}
        pq.write_table(pa.table(columns), path)
    report, table = score(bundle, tmp_path / "in", tmp_path / "out", ids=["key", "year"])
    assert (report.rows, report.bad) == (100, 0)
    for i, year in enumerate(tables):
        x = np.concatenate([tables[year], np.full((50, 1), year)], axis=1)
        check(table.slice(50 * i, 50), vars(load(bundle, threads=1).score(x)))
        assert {*table.slice(50 * i, 50).column("year").to_pylist()} == {str(year)}


def test_damaged_and_changed_files_are_set_aside(exported, tmp_path):
    for name in ("a", "b", "c"):
        write_images(tmp_path / "in" / f"{name}.parquet", random_images(100))
    path = tmp_path / "in" / "b.parquet"
    data = bytearray(path.read_bytes())
    data[200:3000] = bytes(2800)  # the footer says nothing about it
    path.write_bytes(data)
    report, table = score(exported(), tmp_path / "in", tmp_path / "out")
    (failed,) = report.failed
    assert "b.parquet is not a readable Parquet file" in failed.reason
    assert {*table.column("file").to_pylist()} == {"a.parquet", "c.parquet"}
    assert not report.passed
    with pytest.raises(InputError, match="not a readable Parquet file"):
        score(exported(), tmp_path / "in", tmp_path / "strict", strict=True)


def test_what_workers_notice_about_values_is_told_once(exported, tmp_path):
    x = random_images(100) % 2
    write_images(tmp_path / "in" / "a.parquet", x)
    write_images(tmp_path / "in" / "b.parquet", x)
    with pytest.warns(InputWarning, match="hold only 0 and 1") as found:
        score(exported(), tmp_path / "in", tmp_path / "out")
    assert len(found) == 1
