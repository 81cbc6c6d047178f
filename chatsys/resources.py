"""Where the files of ``database/`` lie: beside the package in a wheel, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def database_dir() -> Path:
    """The folder with migrations/, schema.sql, monitoring/ and invariants/.

    A wheel carries it as ``chatsys/database``; a checkout has it at the top level.
    """
    packaged = _PACKAGE / "database"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "database"
