"""The files of ``database/monitoring`` and ``database/doctor``: which one fits a server, and their parameters.

``<name>.sql`` is for PostgreSQL 14 and later; ``<name>.from17.sql`` replaces it from 17 on. A line
``\\if :{?days} \\else \\set days 30 \\endif`` sets the default of a parameter, in psql and here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from chatsys.resources import database_dir

OLDEST = 14
"""The oldest major version of PostgreSQL that the queries are written for."""

_DEFAULT = re.compile(r"^\\if :\{\?(\w+)\} \\else \\set \1 (\d+) \\endif$\n?", re.MULTILINE)
_FROM = re.compile(r"\.from(\d+)\.sql$")
_PARAMETER = re.compile(r"(?<![:\w]):([a-z]\w*)")


MONITORING, DOCTOR = "monitoring", "doctor"


def folder(name: str = MONITORING) -> Path:
    """The folder of the queries: the monitor's or the doctor's."""
    return database_dir() / name


@cache
def sql_file(name: str, version: int, within: str = MONITORING) -> Path:
    """The file of query ``name`` for a server of this major version."""
    since = {OLDEST: folder(within) / f"{name}.sql"}
    for path in folder(within).glob(f"{name}.from*.sql"):
        if found := _FROM.search(path.name):
            since[int(found.group(1))] = path
    return since[max(first for first in since if first <= max(version, OLDEST))]


@cache
def statement(name: str, version: int, within: str = MONITORING) -> str:
    """The statement that is sent to the server, with parameters written as ``:days``."""
    return _DEFAULT.sub("", sql_file(name, version, within).read_text(encoding="utf-8")).strip().removesuffix(";")


def written(text: str, values: Mapping[str, float]) -> str:
    """The statement with its parameters replaced by their values, which are numbers."""
    return _PARAMETER.sub(lambda found: repr(values[found[1]]), text)


@cache
def defaults(name: str) -> dict[str, int]:
    """The parameters of a query and their defaults."""
    return {key: int(value) for key, value in _DEFAULT.findall(sql_file(name, OLDEST).read_text(encoding="utf-8"))}
