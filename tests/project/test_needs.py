"""The markers: a test without any starts no program and opens no database."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import asyncpg
import psycopg
import pytest

from tests import needs


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    """Guard the tests as `make check` does."""
    monkeypatch.setattr(needs, "strict", True)


NOWHERE = "postgresql://127.0.0.1:1/nothing"


def start() -> None:
    subprocess.run(["true"], check=True)


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)


async def psycopg_async() -> None:
    await psycopg.AsyncConnection.connect(NOWHERE)


async def asyncpg_pool() -> None:
    await asyncpg.create_pool(NOWHERE)


@pytest.mark.parametrize(
    "what",
    [
        start,
        fork,
        lambda: os.system("true"),
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
        lambda: asyncio.run(asyncio.create_subprocess_exec("true")),
        lambda: psycopg.connect(NOWHERE),
        lambda: psycopg.Connection.connect(NOWHERE),
        lambda: asyncio.run(psycopg_async()),
        lambda: asyncio.run(asyncpg_pool()),
    ],
)
def test_unmarked_test_starts_no_program_and_opens_no_database(what):
    with pytest.raises(needs.Undeclared):
        what()
    assert needs.taken()


@pytest.mark.process
def test_marked_test_may_start_a_program():
    start()
    assert not needs.taken()


def test_attempt_fails_the_test_even_if_its_error_is_swallowed(request):
    guard = needs.guarded(request.node)
    next(guard)
    with pytest.raises(needs.Undeclared):
        start()
    with pytest.raises(needs.Undeclared, match=r"needs a marker: subprocess\.Popen"):
        next(guard)
    needs.taken()


@pytest.mark.parametrize("fixture", sorted(needs.DATABASES | needs.PROCESSES))
def test_each_fixture_named_in_the_table_exists(fixture):
    tests = Path(needs.__file__).parent
    assert any(f"\ndef {fixture}(" in path.read_text() for path in tests.rglob("*.py"))
