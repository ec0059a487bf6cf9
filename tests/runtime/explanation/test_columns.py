"""Columns of a row in the words of the table: numbers, truth values, categories, gaps."""

from types import SimpleNamespace

import numpy as np

from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.data.tables.encoding import ColumnEncoding, TableEncoding
from vae_runtime.explanation.columns import MISSING_CELL, ranked_columns

TABLE = TableEncoding(
    (
        ColumnEncoding("size", "number"),
        ColumnEncoding("colour", "category", ("red", "blue", "green"), (0.5, 0.25, 0.25), True),
        ColumnEncoding("new", "boolean"),
    ),
    missing="indicator",
)
MEAN, SCALE = (10.5, 0.5, 0.25, 0.25, 0.1, 0.5), (2.0, 1.0, 1.0, 1.0, 1.0, 1.0)


def manifest(table, standardization=None, undivided=False):
    size = len(table.elements) if table else 6
    sample = SimpleNamespace(
        shape=(size,), standardization=standardization, undivided_uint8=undivided
    )
    return SimpleNamespace(table=table, input=sample)


def explained(reconstruction, unusual):
    arrays = (np.array([a], np.float32) for a in (reconstruction, unusual))
    return SimpleNamespace(**dict(zip(("reconstruction", "unusual_elements"), arrays, strict=True)))


def test_cells_and_order():
    x = np.array([13.86, 0, 0, 1, 0, 1], np.float32)
    found = ranked_columns(
        manifest(TABLE, Standardization(MEAN, SCALE)),
        x,
        explained([10.1, 0.7, 0.2, 0.1, 0, 0.2], [2.0, 1, 1.5, 3, 0, -1]),
        0,
    )
    assert [column.name for column in found] == ["colour", "size", "new"]
    colour, size, new = found
    assert (colour.value, colour.reconstruction, colour.usual) == ("green", "red", None)
    assert colour.unusual == 5.5
    assert (size.value, size.reconstruction, size.usual) == (13.86, 10.1, (6.5, 14.5))
    assert (new.value, new.reconstruction, new.usual, new.unusual) == (True, False, None, -1.0)


def test_gaps():
    gap = np.array([1.0, 0.5, 0.25, 0.25, 1, 0], np.float32)
    found = ranked_columns(manifest(TABLE), gap, explained(gap, [0, 9, 0, 0, 0, 0]), 0)
    assert (found[0].name, found[0].value) == ("colour", MISSING_CELL)
    unknown = np.array([1.0, 0, 0, 0, 0, 0], np.float32)  # a category that training did not have
    found = ranked_columns(manifest(TABLE), unknown, explained(unknown, [0, 9, 0, 0, 0, 0]), 0)
    assert found[0].value == MISSING_CELL


def test_no_usual_range_without_standardization_or_with_a_range():
    x = np.zeros(6, np.float32)
    for model in (manifest(TABLE), manifest(TABLE, Standardization.of_range(0, 9), True)):
        assert all(c.usual is None for c in ranked_columns(model, x, explained(x, x), 0))


def test_columns_without_names():
    x = np.arange(6, dtype=np.float32)
    found = ranked_columns(manifest(None), x, explained(x, x), 0)
    assert [column.name for column in found] == [f"element {i}" for i in (5, 4, 3, 2, 1, 0)]
    assert [column.value for column in found] == [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]
