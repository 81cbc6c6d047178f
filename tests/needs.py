"""The markers of what a test needs beside this process, and the guard that enforces them.

``database`` means a PostgreSQL server, ``process`` another program: a broker, a browser, chatsys itself. A test gets
a marker from each of its fixtures that ``DATABASES`` or ``PROCESSES`` names. All tests in ``FOLDERS`` talk to a
server process. A test that starts a program itself is marked by hand. ``make check`` runs the tests without a
marker. There, a test that starts a program or opens a database fails.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import asyncpg
import psycopg
import pytest

DATABASES = {"postgres_server", "postgres15_server", "lab_server", "tls"}
PROCESSES = {"wheel", "scratch", "reference_server", "any_server"}
FOLDERS = {"browser", "conformance", "flow"}

_STARTS = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.exec", "os.system", "pty.spawn"}
QUICK = "not database and not process and not slow"
strict = False
_running: pytest.Item | None = None
_broken: list[str] = []


class Undeclared(Exception):
    """A test uses what its markers do not declare"""


def configure(config: pytest.Config) -> None:
    """Register the markers, and watch the ways to start a program and the drivers of PostgreSQL."""
    global strict  # noqa: PLW0603 - as are the audit hook and the drivers
    strict = config.getoption("markexpr") == QUICK
    config.addinivalue_line("markers", "database: needs a PostgreSQL server")
    config.addinivalue_line("markers", "process: needs another program, as a broker, a browser or chatsys itself")
    config.addinivalue_line("markers", "slow: takes several seconds of processor time; `make check` leaves it out")
    sys.addaudithook(_audit)
    for kind in (psycopg, psycopg.Connection, psycopg.AsyncConnection, asyncpg):
        _watch(kind, "connect")
    _watch(asyncpg, "create_pool")


def declare(item: pytest.Item) -> None:
    """Give a test the markers of its fixtures."""
    used = set(getattr(item, "fixturenames", ()))
    if used & DATABASES:
        item.add_marker(pytest.mark.database)
    if used & PROCESSES or item.path.parent.name in FOLDERS:
        item.add_marker(pytest.mark.process)


def guarded(item: pytest.Item) -> Iterator[None]:
    """Run a part of a test; without a marker it may start no program and open no database."""
    global _running  # noqa: PLW0603 - an audit hook can't be removed, so that there is one for all tests
    _running = item
    _broken.clear()
    try:
        yield
    finally:
        _running = None
    if _broken:
        raise Undeclared(f"{item.nodeid} needs a marker: {_broken[0]}")


def taken() -> list[str]:
    """Return and clear what this test has tried without a marker."""
    found = list(_broken)
    _broken.clear()
    return found


def _refuse(what: str, *needed: str) -> None:
    if strict and _running is not None and not any(_running.get_closest_marker(name) for name in needed):
        _broken.append(what)
        raise Undeclared(what)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _STARTS and _running is not None:
        _refuse(f"{event} {arguments[:2]}", "process", "database")


def _watch(kind: Any, name: str) -> None:
    original = getattr(kind, name)

    def connect(*arguments: Any, **options: Any) -> Any:
        _refuse(f"{name} of {original.__module__}", "database", "process")
        return original(*arguments, **options)

    setattr(kind, name, connect)
