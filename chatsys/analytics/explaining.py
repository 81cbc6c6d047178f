"""A query of the catalogue in words: the decision it serves, its columns and its SQL."""

from __future__ import annotations

import inspect

from rich.console import Group, RenderableType
from rich.table import Column
from rich.text import Text

from chatsys.analytics import sql
from chatsys.analytics.monitor import Monitor, known
from chatsys.analytics.screen import bare_table

NEWEST = 18


def explanation(name: str) -> RenderableType:
    """What ``chatsys monitor NAME --explain`` shows, without a database. The SQL is that for the newest PostgreSQL."""
    query = known(name)
    table = bare_table(Column("column", no_wrap=True), Column("unit", no_wrap=True), Column("meaning", overflow="fold"))
    for column in query.columns:
        table.add_row(column.name, column.unit or column.kind, Text(column.meaning))
    parameters = ", ".join(f"--{key} (default {value:,})" for key, value in sql.defaults(name).items())
    about = [
        Text((inspect.getdoc(getattr(Monitor, name)) or "").replace("``", "`")),
        Text(f"Decision: {query.serves}"),
        *([Text(f"Cost: {query.sampling}")] if query.sampling else []),
        *([Text(f"Options: {parameters}")] if parameters else []),
    ]
    file = sql.sql_file(name, NEWEST)
    text = file.read_text(encoding="utf-8").rstrip()
    whole = Text(text, no_wrap=True, overflow="ignore")  # the rest of a folded comment would be SQL
    return Group(*about, Text(""), table, Text(""), Text(f"SQL, database/monitoring/{file.name}:"), whole)
