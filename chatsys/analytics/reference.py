"""``python -m chatsys.analytics.reference`` writes the tables of docs/ANALYTICS.md from the catalogue.

It replaces only the text between the two markers.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from chatsys.analytics import sql
from chatsys.analytics.catalogue import DTYPES, QUERIES, Query
from chatsys.analytics.monitor import Monitor

BEGIN = "<!-- written by python -m chatsys.analytics.reference -->"
END = "<!-- end of what is written -->"
PAGE = Path("docs/ANALYTICS.md")


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


def _section(query: Query) -> str:
    given = ", ".join(f"{name}={value:_}" for name, value in sql.defaults(query.name).items())
    about = inspect.getdoc(getattr(Monitor, query.name)) or ""
    parts = [f"### `{query.name}({given})`", about, f"**Decision.** {query.serves}"]
    if query.sampling:
        parts.append(f"**Cost.** {query.sampling}")
    rows = [f"| `{c.name}` | {c.kind} | {c.unit} | {c.meaning} |" for c in query.columns]
    parts.append("\n".join(["| column | kind | unit | meaning |", "|---|---|---|---|", *rows]))
    files = sorted(path.name for path in sql.folder().glob("*.sql") if path.name.partition(".")[0] == query.name)
    parts.append("SQL: " + ", ".join(f"[`{name}`](../database/monitoring/{name})" for name in sorted(files, key=len)))
    return "\n\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
