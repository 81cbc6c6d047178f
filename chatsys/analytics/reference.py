"""A query of the catalogue in words: the decision it serves, its columns and its SQL.

``python -m chatsys.analytics.reference`` writes the tables of docs/ANALYTICS.md from the catalogue. It replaces only
the text between the two markers.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Column
from rich.text import Text

from chatsys.analytics import sql
from chatsys.analytics.catalogue import DTYPES, QUERIES, Query
from chatsys.analytics.monitor import Monitor, known
from chatsys.analytics.screen import bare_table

BEGIN = "<!-- written by python -m chatsys.analytics.reference -->"
END = "<!-- end of what is written -->"
PAGE = Path("docs/ANALYTICS.md")
NEWEST = 18


def reference() -> str:
    """The tables of every query, in the catalogue's order."""
    kinds = "\n".join(f"| {kind} | `{dtype}` |" for kind, dtype in DTYPES.items())
    head = f"| kind | pandas dtype |\n|---|---|\n{kinds}"
    return "\n\n".join([head, *(_section(query) for query in QUERIES.values())])


def page(current: str) -> str:
    """The page with its tables brought up to date."""
    before, _, rest = current.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{reference()}\n\n{END}{after}"


def _about(query: Query) -> str:
    return inspect.getdoc(getattr(Monitor, query.name)) or ""


def _section(query: Query) -> str:
    given = ", ".join(f"{name}={value:_}" for name, value in sql.defaults(query.name).items())
    parts = [f"### `{query.name}({given})`", _about(query), f"**Decision.** {query.serves}"]
    if query.sampling:
        parts.append(f"**Cost.** {query.sampling}")
    rows = [f"| `{c.name}` | {c.kind} | {c.unit} | {c.meaning} |" for c in query.columns]
    parts.append("\n".join(["| column | kind | unit | meaning |", "|---|---|---|---|", *rows]))
    files = sorted(path.name for path in sql.folder().glob("*.sql") if path.name.partition(".")[0] == query.name)
    parts.append("SQL: " + ", ".join(f"[`{name}`](../database/monitoring/{name})" for name in sorted(files, key=len)))
    return "\n\n".join(parts)


def explanation(name: str) -> RenderableType:
    """What ``chatsys monitor NAME --explain`` shows, without a database. The SQL is that for the newest PostgreSQL."""
    query = known(name)
    table = bare_table(Column("column", no_wrap=True), Column("unit", no_wrap=True), Column("meaning", overflow="fold"))
    for column in query.columns:
        table.add_row(column.name, column.unit or column.kind, Text(column.meaning))
    parameters = ", ".join(f"--{key} (default {value:,})" for key, value in sql.defaults(name).items())
    about = [
        Text(_about(query).replace("``", "`")),
        Text(f"Decision: {query.serves}"),
        *([Text(f"Cost: {query.sampling}")] if query.sampling else []),
        *([Text(f"Options: {parameters}")] if parameters else []),
    ]
    file = sql.sql_file(name, NEWEST)
    text = file.read_text(encoding="utf-8").rstrip()
    whole = Text(text, no_wrap=True, overflow="ignore")  # the rest of a folded comment would be SQL
    return Group(*about, Text(""), table, Text(""), Text(f"SQL, database/monitoring/{file.name}:"), whole)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
