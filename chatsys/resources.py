"""Finds the folders ``database``, ``notebooks`` and ``reports``: at the top of a checkout, or inside a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def database_dir() -> Path:
    """The folder with migrations/, schema.sql, fold_case.sql, monitoring/ and invariants/.

    A wheel carries it as ``chatsys/data/database``; a checkout has it at the top level.
    """
    return _folder("database")


def notebooks_dir() -> Path:
    """The folder with the notebooks."""
    return _folder("notebooks")


def reports_dir() -> Path:
    """The folder with the published runs."""
    return _folder("reports")


def _folder(name: str) -> Path:
    packaged = _PACKAGE / "data" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name
