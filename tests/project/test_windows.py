"""Windows: the monitor works there, and the server says in one sentence that it does not run."""

from __future__ import annotations

import sys

import pytest

from tests.project.test_packaging import BLOCKED, run

pytestmark = pytest.mark.process

LIBRARIES = (
    "asyncio, asyncpg, dotenv, jinja2, matplotlib.pyplot, multiprocessing, msgspec, numpy, pandas, psutil, psycopg,"
    "pyarrow, rich.console, sqlalchemy.ext.asyncio, subprocess, tabulate, typer, ctypes, importlib.metadata"
)
WINDOWS = f"import sys, {LIBRARIES}, sqlalchemy.dialects.postgresql.psycopg\nsys.platform = 'win32'\n"
MISSING = {"fcntl", "grp", "pwd", "resource", "termios", "uvloop"}
"""Modules that Python lacks on Windows, and uvloop."""


def on_windows(program: str, folder, status: int = 0) -> str:
    """Run a program of chatsys with libraries that behave, as far as it matters, as on Windows; return its output."""
    forget = "".join(f"sys.modules.pop({name!r}, None)\n" for name in sorted(MISSING))
    words = WINDOWS + forget + BLOCKED.format(blocked=MISSING) + program
    return run(sys.executable, "-c", words, folder=folder, status=status)


def test_monitor_works_on_windows(tmp_path):
    program = "from chatsys.analytics import Monitor, diff, plots, runs; Monitor('postgresql://127.0.0.1:1/x').close()"
    on_windows(program, tmp_path)


@pytest.mark.parametrize("arguments", ["", ", '--database-url', 'memory://'"])
def test_server_says_in_one_sentence_that_it_does_not_run_on_windows(arguments, tmp_path):
    program = f"sys.argv = ['chatsys', 'serve'{arguments}]; from chatsys.__main__ import main; main()"
    (said,) = on_windows(program, tmp_path, status=1).splitlines()
    assert said.startswith("Error: The chat server does not run on Windows: use Linux, macOS or")


def test_private_database_says_that_it_does_not_run_on_windows(tmp_path):
    program = "sys.argv = ['chatsys', 'db', 'init']; from chatsys.__main__ import main; main()"
    (said,) = on_windows(program, tmp_path, status=1).splitlines()
    assert "The private PostgreSQL does not run on Windows" in said
