"""Choices about a table that is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from vae_runtime.data.tables.encoding import Missing, UnknownCategory
from vae_runtime.data.tables.files.chunks import TableFile
from vae_runtime.data.tables.names import quoted
from vae_runtime.errors import OptionError


@dataclass(frozen=True)
class TableOptions:
    """Choices about a table.

    Attributes:
        columns: all columns to read, in this order; None for all that are features.
        keep_columns: columns that are read although the rule leaves them out.
        drop: columns that are left out as well.
        label: column that holds the labels; it is no feature.
        categorical: columns whose values are categories, whatever they look like.
        missing: what to do about missing values.
        unknown_category: what a device does about a category that is not in this table.
    """

    columns: tuple[str, ...] | None = None
    keep_columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    label: str | None = None
    categorical: tuple[str, ...] = ()
    missing: Missing = "error"
    unknown_category: UnknownCategory = "error"

    def check(self, file: TableFile) -> None:
        """Raise `OptionError` for columns that the table does not have, and contradictions."""
        named = {
            "--columns": self.columns or (),
            "--keep-columns": self.keep_columns,
            "--drop": self.drop,
            "--label": (self.label,) if self.label is not None else (),
            "--categorical": self.categorical,
        }
        unknown = {o: [n for n in names if n not in file.names] for o, names in named.items()}
        if faults := [
            f"{', '.join(map(repr, names))}, which {option} names"
            for option, names in unknown.items()
            if names
        ]:
            raise OptionError(
                f"{file.path} has no column {'; nor '.join(faults)}; it has {quoted(file.names)}: "
                "check the spelling"
            )
        excluded = ("--drop", "--label")
        for first in excluded:
            for second in set(named) - {first}:
                if both := [name for name in named[first] if name in named[second]]:
                    raise OptionError(
                        f"{quoted(both)} is given to {second} and to {first}: leave it out of one"
                    )
        for option, value, choices in (
            ("missing", self.missing, get_args(Missing)),
            ("unknown_category", self.unknown_category, get_args(UnknownCategory)),
        ):
            if value not in choices:
                raise OptionError(f"{option} is {value!r}, expected one of {', '.join(choices)}")
