#!/usr/bin/env bash
# pyarrow 26.0.1 with NumPy 2.4.6, seen 2026-11-27.
#
# A dictionary-encoded column (pandas writes its categories so) read from Parquet has a null. As NumPy
# values (np.asarray, ChunkedArray.to_numpy) the null becomes the dictionary's last value, without a
# warning: a missing label counts as a real one. The only chunk of the same column, asked alone, gives
# None. Whole numbers stay whole, so that no nan shows the gap. What helps: cast to the value type first.
#
# Output seen:
#     column            good bad bad good
#     its only chunk    good bad None good
#     cast to string    good bad None good
#     whole numbers     1 2 2
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check pyarrow==26.0.1 numpy==2.4.6 2>/dev/null
cat >"$work/nulls.py" <<'PYTHON'
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

file = io.BytesIO()
labels = pa.array(["good", "bad", None, "good"]).dictionary_encode()
pq.write_table(pa.table({"label": labels}), file)
column = pq.read_table(file)["label"]
numbers = pa.chunked_array([pa.array([1, 2, None]).dictionary_encode()])

print("column           ", *np.asarray(column))
print("its only chunk   ", *np.asarray(column.chunk(0)))
print("cast to string   ", *np.asarray(column.cast(pa.string())))
print("whole numbers    ", *np.asarray(numbers))
PYTHON
seen=$("$work/venv/bin/python" "$work/nulls.py")
echo "$seen"
[ "$seen" = "column            good bad bad good
its only chunk    good bad None good
cast to string    good bad None good
whole numbers     1 2 2" ]
