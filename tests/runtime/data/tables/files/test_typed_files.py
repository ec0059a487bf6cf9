"""Parquet, Feather, Arrow, ORC and JSON: the same table gives the same samples in every format."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, orc, parquet

from vae_runtime.data.sources import load_table
from vae_runtime.data.tables.options import TableOptions
from vae_runtime.errors import InputError

N = 40
RNG = np.random.default_rng(0)
COLUMNS = {
    "size": [float(v) for v in RNG.normal(size=N).round(3)],
    "open": [bool(v) for v in RNG.integers(0, 2, N)],
    "colour": [str(v) for v in RNG.choice(["red", "green", "blue"], N)],
    "count": [int(v) for v in RNG.integers(0, 99, N)],
}
EXPECTED = np.c_[
    COLUMNS["size"],
    COLUMNS["open"],
    *(np.array(COLUMNS["colour"]) == colour for colour in ("blue", "green", "red")),
    COLUMNS["count"],
].astype(np.float32)
NAMES = ("size", "open", "colour=blue", "colour=green", "colour=red", "count")


def records(columns=COLUMNS):
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def write_arrow(path, columns=COLUMNS, *, stream=False):
    table = pa.table(columns)
    opened = pa.ipc.new_stream if stream else pa.ipc.new_file
    with opened(path, table.schema) as sink:
        for batch in table.to_batches(max_chunksize=7):
            sink.write_batch(batch)


WRITERS = {
    "t.parquet": lambda path: parquet.write_table(pa.table(COLUMNS), path),
    "t.pq": lambda path: parquet.write_table(pa.table(COLUMNS), path, row_group_size=9),
    "t.feather": lambda path: feather.write_feather(pa.table(COLUMNS), path),
    "t.arrow": write_arrow,
    "stream.arrow": lambda path: write_arrow(path, stream=True),
    "t.ipc": write_arrow,
    "t.orc": lambda path: orc.write_table(pa.table(COLUMNS), path),
    "t.jsonl": lambda path: path.write_text("\n".join(map(json.dumps, records()))),
    "t.ndjson": lambda path: path.write_text("\n".join(map(json.dumps, records())) + "\n\n"),
    "t.json": lambda path: path.write_text(json.dumps(records())),
    "columns.json": lambda path: path.write_text(json.dumps(COLUMNS)),
    "pandas.json": lambda path: path.write_text(
        json.dumps({n: {str(i): v for i, v in enumerate(c)} for n, c in COLUMNS.items()})
    ),
    "split.json": lambda path: path.write_text(
        json.dumps({"columns": [*COLUMNS], "data": [[*r.values()] for r in records()]})
    ),
    "inside.json": lambda path: path.write_text(json.dumps({"version": 1, "rows": records()})),
    "lines.json": lambda path: path.write_text("\n".join(map(json.dumps, records()))),
    "t.csv": lambda path: path.write_text(
        ",".join(COLUMNS) + "\n" + "\n".join(",".join(map(str, r.values())) for r in records())
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same(tmp_path, name):
    WRITERS[name](tmp_path / name)
    table = load_table(tmp_path / name)
    assert table.columns == NAMES
    np.testing.assert_array_equal(table.x, EXPECTED)
    assert table.notes == (
        "'colour' (3 categories: blue, green, red): one 0/1 element for each category; leave out "
        "with --drop colour",
    )


def test_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("vae_runtime.data.tables.files.chunks.CHUNK_ROWS", 7)
    for name in ("t.parquet", "t.arrow", "t.orc", "t.jsonl", "t.csv"):
        WRITERS[name](tmp_path / name)
        np.testing.assert_array_equal(load_table(tmp_path / name).x, EXPECTED)


def test_a_dictionary_of_codes_is_a_category(tmp_path):
    codes = pa.array([i % 3 + 7 for i in range(9)]).dictionary_encode()
    feather.write_feather(pa.table({"code": codes, "x": [*range(9)]}), tmp_path / "t.feather")
    table = load_table(tmp_path / "t.feather")
    assert table.columns == ("code=7", "code=8", "code=9", "x")
    plain = pa.table({"code": codes.dictionary_decode(), "x": [*range(9)]})
    column = {"name": "code", "field_name": "code", "pandas_type": "categorical"}
    metadata = {"pandas": json.dumps({"index_columns": [], "columns": [column]})}
    parquet.write_table(plain.replace_schema_metadata(metadata), tmp_path / "t.parquet")
    np.testing.assert_array_equal(load_table(tmp_path / "t.parquet").x, table.x)


def test_types_that_are_no_features_are_left_out(tmp_path):
    columns = {"x": [0.5, 2.5, 1.5], "list": [[1], [2], [3]], "blob": [b"1", b"2", b"3"]}
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = load_table(tmp_path / "t.parquet")
    assert table.columns == ("x",)
    assert "left out 'list' (list<element: int64>), 'blob' (binary)" in table.notes[0]
    rows = [{"x": i / 2, "inner": {"a": i}} for i in range(4)]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    assert load_table(tmp_path / "t.json").columns == ("x",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("3", "is no table"),
        ('{"a": 1}', "is no table"),
        ("[1, 2]", "is no table .record 0 is 1."),
        ("[]", "no rows"),
        ('{"a": [1, 2', "is not a readable JSON file"),
        ('{"a": 1}\n{"a": \n', "is not a readable JSON file"),
    ],
)
def test_json_that_is_no_table(tmp_path, content, message):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load_table(tmp_path / "t.json")


def test_a_key_that_a_record_lacks_is_a_gap(tmp_path):
    rows = [{"a": i, "b": i * i % 5} for i in (5, 3, 8, 1)]
    del rows[2]["b"]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match="line 3, column 'b' has no value"):
        load_table(tmp_path / "t.jsonl")
    x = load_table(tmp_path / "t.jsonl", TableOptions(missing="mean")).x
    assert x[2, 1] == np.float32((0 + 4 + 1) / 3)
