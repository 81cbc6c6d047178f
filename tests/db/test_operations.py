"""docs/OPERATIONS.md shows real output: each command is run on one database, in the order of the page."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from chatsys.store.address import read_url, with_database
from tests.conftest import ScratchServer
from tests.db.conftest import chatsys, fill_chat

PAGE = Path(__file__).parents[2] / "docs" / "OPERATIONS.md"
DATABASE = "chatdb"
FIGURE = re.compile(r"[0-9a-f]{16}|\d[\d,.:TZ-]*( (s|ms|bytes|KiB|MiB))?")
RULE = re.compile(r"[\u2500-\u257f]{2,}")


def shown() -> list[tuple[str, str]]:
    """Return each command of the page with its output."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        found += re.findall(r"^\$ (.*?)\n(.*?)(?=^\$ |\Z)", block, re.MULTILINE | re.DOTALL)
    return found


def plain(text: str) -> list[str]:
    """Return the lines without figures, with single blanks, and with rules of one length."""
    return [RULE.sub("─", " ".join(FIGURE.sub("N", line).split())) for line in text.splitlines() if line.strip()]


@pytest.mark.timeout(600)
def test_every_command_prints_what_the_operations_page_shows(
    postgres_server: ScratchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = with_database(postgres_server.url, DATABASE)
    where = re.compile(r"\s+".join(map(re.escape, read_url(url).where.split())))  # it may be wrapped
    commands = shown()
    assert len(commands) > 20
    try:
        for command, expected in commands:
            program, *arguments = command.split()
            assert program == "chatsys"
            if arguments == ["db", "status"]:
                fill_chat(url, 400)
            done = chatsys(*arguments, DATABASE_URL=url, COLUMNS="80")
            assert plain(where.sub("localhost:5432", done.stdout + done.stderr)) == plain(expected), command
    finally:
        with psycopg.connect(postgres_server.url, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
