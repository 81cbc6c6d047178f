"""The columns of a monitoring query with type, unit and meaning, declared once.

The declarations set the dtypes of frames, say which columns are counters, and generate docs/ANALYTICS.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

Kind = Literal["text", "integer", "number", "boolean", "time"]

DTYPES: dict[Kind, str] = {
    "text": "string",
    "integer": "Int64",
    "number": "float64",
    "boolean": "boolean",
    "time": "datetime64[us, UTC]",
}
"""Kind of a column -> pandas dtype. All are nullable, so neither missing values nor an empty result change them."""

_UNITS = {"bytes": "bytes", "ms": "milliseconds", "ratio": "0 to 1", "per_second": "per second", "at": "UTC"}


@dataclass(frozen=True)
class Column:
    """One column. ``kind`` determines its dtype, and the ending of ``name`` its unit."""

    name: str
    meaning: str
    kind: Kind

    @property
    def dtype(self) -> str:
        """The pandas dtype."""
        return DTYPES[self.kind]

    @property
    def is_counter(self) -> bool:
        """Whether it only grows until somebody resets the statistics."""
        return self.name.endswith("_total")

    @property
    def unit(self) -> str:
        """The unit, from the name's ending; numbers without one are counts."""
        stem = self.name.removesuffix("_total")
        for ending, unit in _UNITS.items():
            if stem == ending or stem.endswith(f"_{ending}"):
                return unit
        if self.kind == "time":
            return "UTC"
        named = self.name.endswith(("pid", "_id")) or self.name == "seq"
        return "count" if self.kind in ("integer", "number") and not named else ""


Need = Literal["activity", "pg_stat_statements", "chat"]


@dataclass(frozen=True)
class Query:
    """A monitoring query: ``database/monitoring/<name>.sql`` and what it returns.

    ``serves`` is the decision that it helps with; ``needs`` lists what the server or the role must have for complete
    rows; ``sampling`` says what limits its cost on a large database.
    """

    name: str
    serves: str
    columns: tuple[Column, ...]
    needs: tuple[Need, ...] = ()
    sampling: str = ""

    @property
    def counters(self) -> tuple[str, ...]:
        """The names of the columns that only grow."""
        return tuple(column.name for column in self.columns if column.is_counter)

    @property
    def keys(self) -> tuple[str, ...]:
        """The text columns, which together name the object that a row is about."""
        return tuple(column.name for column in self.columns if column.kind == "text")


def query(name: str, serves: str, *columns: Column, needs: tuple[Need, ...] = (), sampling: str = "") -> Query:
    """A query with these columns."""
    return Query(name, serves, columns, needs, sampling)


text = partial(Column, kind="text")
integer = partial(Column, kind="integer")
number = partial(Column, kind="number")
boolean = partial(Column, kind="boolean")
time = partial(Column, kind="time")
