"""The named statements of ``sql/*.sql``.

A statement begins with ``-- name: NAME`` and ends with a semicolon. With ``-- plan: custom`` below the name,
PostgreSQL plans it for its arguments at each execution; all others are prepared once per connection. ``-- part: NAME``
begins text that later statements of the same file share: it replaces ``{NAME}`` in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import msgspec

_HEADER = re.compile(r"^-- (part|name): (\w+)$", re.MULTILINE)
_USE = re.compile(r"\{(\w+)\}")


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One statement; ``text`` includes its comments, so that the server's log explains itself."""

    name: str
    text: str
    custom_plan: bool


@cache
def statements() -> Mapping[str, Statement]:
    """All statements by name."""
    found: dict[str, Statement] = {}
    for path in sorted((Path(__file__).parent / "sql").glob("*.sql")):
        parts: dict[str, str] = {}
        _, *pieces = _HEADER.split(path.read_text(encoding="utf-8"))
        for kind, name, text in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
            if name in found or name in parts:
                raise ValueError(f"two statements or parts are called {name}")
            whole = _USE.sub(lambda use: parts[use[1]], text).strip().removesuffix(";")  # noqa: B023 - used at once
            if kind == "part":
                parts[name] = whole
            else:
                found[name] = Statement(name=name, text=whole, custom_plan="-- plan: custom\n" in text)
    return MappingProxyType(found)
