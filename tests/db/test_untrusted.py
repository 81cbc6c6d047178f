"""A file from somebody else runs no command, ends no transaction and fills no memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard

from chatsys.database import snapshot
from chatsys.database.restore import _portable
from chatsys.errors import OperatorError, SnapshotDamaged

END = "\n-- PostgreSQL database dump complete\n"


def passed(script: str) -> str:
    return b"".join(_portable(script.encode().splitlines(keepends=True))).decode()


@pytest.mark.parametrize(
    "script",
    [
        "\\! touch /tmp/x\n",
        "SELECT 1 \\! touch /tmp/x\n",
        "SELECT 'a'\n\\o |sh\n",
        "/*\nCOPY x FROM stdin;\n*/\n\\! touch /tmp/x\n\\.\n",
        "SELECT '\nCOPY x FROM stdin;\n'; \\! touch /tmp/x\n\\.\n",
        "SELECT $a$ $b$ $a$ \\! touch /tmp/x\n",
        "SELECT E'a''\\'' \\! touch /tmp/x\n",
        "SELECT '\\' \\! touch /tmp/x ' \n",
        "SELECT set_config('standard_conforming_strings', 'off', false); SELECT '\\'' ' \\! touch /tmp/x\n",
        "/* /* */ ' */ \\! touch /tmp/x\n",
        "-- '\n\\! touch /tmp/x\n",
        'SELECT "a""b" \\! touch /tmp/x\n',
        "COPY x FROM PROGRAM 'sh';\n",
        "COPY (SELECT 1) TO PROGRAM 'sh';\n",
        "CREATE TABLE x ();\nCOMMIT;\n",
        "SELECT 1; END;\n",
        "ROLLBACK;\n",
    ],
)
def test_dump_with_a_command_or_a_transaction_end_is_refused(script: str) -> None:
    with pytest.raises(OperatorError, match="Nothing was changed"):
        passed(script)


@pytest.mark.parametrize(
    "script",
    [
        "COPY public.x (a) FROM stdin;\n\\N\ta\\\\b\\! no command\nCOMMIT;\n\\.\nSELECT 1;\n",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN '\\d'; END $$;\n",
        "SELECT E'\\\\', 'it''s', \"a\\b\";\n",
        "SET standard_conforming_strings = on;\n-- \\! nothing\n",
    ],
)
def test_statements_of_a_dump_pass_unchanged(script: str) -> None:
    assert passed(script) == script


def test_psql_commands_of_newer_dumps_are_removed() -> None:
    assert passed("\\restrict abc123\nSELECT 1;\n\\unrestrict abc123\n") == "SELECT 1;\n"


def test_snapshot_with_a_huge_line_is_refused_before_it_is_read(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(snapshot, "LINE_BYTES", 1_000_000)
    file = tmp_path / "bomb"
    header = b'{"kind":"header","format":"chatsys-snapshot","version":1,"created_at":"2031-05-06T07:08:09Z"}\n'
    file.write_bytes(zstandard.ZstdCompressor().compress(header + b"x" * 50_000_000))
    assert file.stat().st_size < 10_000
    with pytest.raises(SnapshotDamaged, match="more than"):
        snapshot.check(file)
