"""The named statements of ``sql/*.sql``.

A statement begins with ``-- name: NAME`` and ends with a semicolon. ``-- plan: custom`` below the name has it planned
at each execution, with its arguments in view; all others are prepared once for each connection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import msgspec

_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


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
        _, *pairs = _HEADER.split(path.read_text(encoding="utf-8"))
        for name, text in zip(pairs[::2], pairs[1::2], strict=True):
            if name in found:
                raise ValueError(f"two statements are called {name}")
            found[name] = Statement(
                name=name, text=text.strip().removesuffix(";"), custom_plan="-- plan: custom\n" in text
            )
    return MappingProxyType(found)
