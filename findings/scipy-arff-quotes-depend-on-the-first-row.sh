#!/usr/bin/env bash
# SciPy 1.17.1 (scipy.io.arff.loadarff), seen 2026-11-27.
#
# loadarff guesses the quote character from the first row of data alone. If that row has no quotes, the
# single quotes of later rows become part of the value, and a value that the header lists is refused.
# The same rows in another order are read. What helps: a row with quotes first, or double quotes.
#
# Output seen:
#     quotes in the first row: light blue, red
#     quotes in the second row: ValueError: 'light blue' value not in ('light blue', 'red')
#     double quotes in the second row: red, light blue
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check scipy==1.17.1 numpy==2.4.6 2>/dev/null
cat >"$work/rows.py" <<'PYTHON'
import io

from scipy.io.arff import loadarff

HEADER = "@relation colours\n@attribute x real\n@attribute colour {'light blue', red}\n@data\n"


def read(*rows):
    """Return the colours of the rows, or the error."""
    try:
        data, _ = loadarff(io.StringIO(HEADER + "\n".join(rows) + "\n"))
    except ValueError as error:
        return f"ValueError: {error}"
    return ", ".join(value.decode() for value in data["colour"])


print("quotes in the first row:", read("1,'light blue'", "2,red"))
print("quotes in the second row:", read("2,red", "1,'light blue'"))
print("double quotes in the second row:", read("2,red", '1,"light blue"'))
PYTHON
seen=$("$work/venv/bin/python" "$work/rows.py")
echo "$seen"
[ "$seen" = "quotes in the first row: light blue, red
quotes in the second row: ValueError: 'light blue' value not in ('light blue', 'red')
double quotes in the second row: red, light blue" ]
