"""A backup holds everything, is restored completely or not at all, and says why when it fails."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from chatsys.database.backup import backup, scratch_database
from chatsys.database.fingerprint import TableFingerprint, differences
from chatsys.database.restore import restore
from chatsys.database.tools import dumping_tools, environment, reading_tools
from chatsys.errors import OperatorError
from chatsys.store.address import read_url
from tests.db.conftest import Server, as_role, chatsys, content, fill_chat, role, rows, run

FORMATS = pytest.mark.parametrize("name", ["chat.sql", "chat.dump"])


@FORMATS
def test_restore_brings_back_everything_that_was_backed_up(fresh: str, empty: str, tmp_path: Path, name: str) -> None:
    fill_chat(fresh, 500)
    backup(fresh, tmp_path / name)
    restore(empty, tmp_path / name)
    assert content(empty) == content(fresh)
    assert len(rows(empty, "SELECT * FROM messages_with_user_view")) == 500


@FORMATS
def test_backup_of_an_older_server_is_restored_on_a_newer_one(
    postgres15_server: Server, postgres_server: Server, tmp_path: Path, name: str
) -> None:
    with postgres15_server.database() as older, postgres_server.database("template0") as newer:
        fill_chat(older, 100)
        backup(older, tmp_path / name)
        restore(newer, tmp_path / name)
        assert content(newer) == content(older)


@FORMATS
def test_restore_replaces_the_previous_content(fresh: str, server: Server, tmp_path: Path, name: str) -> None:
    backup(fresh, tmp_path / name)
    before, epoch = content(fresh), rows(fresh, "SELECT current_epoch()")
    fill_chat(fresh, 50)
    run(fresh, "CREATE TABLE of_later (n int); CREATE VIEW over_users AS SELECT user_id FROM users")
    run(fresh, "CREATE TYPE mood AS ENUM ('fine'); CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    restore(fresh, tmp_path / name)
    assert content(fresh) == before
    assert rows(fresh, "SELECT 1 FROM pg_type WHERE typname = 'mood'") == []
    assert rows(fresh, "SELECT current_epoch()") != epoch  # numbers may be assigned a second time


@FORMATS
def test_rows_that_look_like_commands_survive_a_restore(fresh: str, empty: str, tmp_path: Path, name: str) -> None:
    fill_chat(fresh, 3)
    for text in ("SET transaction_timeout = 0;", "COMMENT ON EXTENSION x IS 'y';", "\\.", "COMMIT;", "\\! false"):
        run(
            fresh,
            f"INSERT INTO users (username, email, password, display_name, avatar) "
            f"SELECT md5($t${text}$t$), md5($t${text}$t$), '', $t${text}$t$, $t$x\n{text}\n$t$",
        )
    backup(fresh, tmp_path / name)
    restore(empty, tmp_path / name)
    assert content(empty) == content(fresh)


@FORMATS
def test_verified_backup_compares_every_table(fresh: str, tmp_path: Path, name: str) -> None:
    fill_chat(fresh, 200)
    proof = backup(fresh, tmp_path / name, verify=True).proof
    counts = {table.table: table.rows for table in proof}
    assert counts["public.messages"] == 200
    assert counts["public.users"] == 10
    deadline = time.monotonic() + 60
    while rows(fresh, "SELECT datname FROM pg_database WHERE datname LIKE 'chatsys_scratch%'"):
        # the scratch database of another test disappears soon
        assert time.monotonic() < deadline, "a scratch database stays"
        time.sleep(0.2)


def test_verification_detects_a_backup_that_lacks_rows(
    fresh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_chat(fresh, 20)
    major = rows(fresh, "SELECT current_setting('server_version_num')::int / 10000")[0][0]
    real = reading_tools().folder
    for program in ("pg_dump", "pg_restore", "psql"):
        extra = "--exclude-table-data=message_reads" if program == "pg_dump" else ""
        version = f'[ "$1" = --version ] && echo "{program} {major}" && exit'
        script = f'#!/bin/sh\n{version}\nexec "{real}/{program}" {extra} "$@"\n'
        (tmp_path / program).write_text(script)
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(OperatorError, match=r"public.message_reads has 36 rows on one side and 0"):
        backup(fresh, tmp_path / "chat.dump", verify=True)
    assert not list(tmp_path.glob("*chat*"))


def test_backup_can_be_read_only_by_its_owner(fresh: str, tmp_path: Path) -> None:
    written = backup(fresh, tmp_path / "chat.dump").file
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_failed_backup_keeps_the_older_file(server: Server, fresh: str, tmp_path: Path) -> None:
    (tmp_path / "chat.dump").write_text("the older one")
    with role(server) as name, pytest.raises(OperatorError, match="permission denied"):
        backup(as_role(fresh, name), tmp_path / "chat.dump")
    assert [path.name for path in tmp_path.iterdir()] == ["chat.dump"]
    assert (tmp_path / "chat.dump").read_text() == "the older one"


@pytest.mark.parametrize("command", [["db", "backup"], ["export"]], ids=" ".join)
def test_existing_file_is_replaced_only_on_request(fresh: str, tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "chat.dump"
    file.write_text("the older one")
    address = ["--database-url" if command[0] == "db" else "--from", fresh]
    refused = chatsys(*command, str(file), *address)
    assert refused.returncode == 1
    assert f"{file} exists. Replace it? Confirm it with --yes." in refused.stderr
    assert file.read_text() == "the older one"
    assert chatsys(*command, str(file), *address, "--yes").returncode == 0
    assert file.read_bytes()[:9] != b"the older"


LIVING = (
    "INSERT INTO chat_servers VALUES ('00000000-0000-0000-0000-000000000001', now(), now() + interval '15 s');"
    "INSERT INTO active_sessions (guest_id, guest_name, socket_id, room_id, server_id) SELECT 'g', 'G', 's', room_id, "
    "'00000000-0000-0000-0000-000000000001' FROM rooms WHERE room_name = 'general'"
)


def test_restore_under_a_live_server_is_refused_unless_forced(fresh: str, tmp_path: Path) -> None:
    file = backup(fresh, tmp_path / "chat.dump").file
    run(fresh, LIVING)
    before = content(fresh)
    command = ("db", "restore", str(file), "--yes", "--database-url", fresh)
    refused = chatsys(*command)
    assert refused.returncode == 1
    assert "1 chat server with 1 session work on" in refused.stderr
    assert "so nothing was changed. Stop them first" in refused.stderr
    assert "--force restores anyway: their clients lose their sessions" in refused.stderr
    assert content(fresh) == before
    forced = chatsys(*command, "--force")
    assert forced.returncode == 0, forced.stderr
    assert "restart the servers" in forced.stdout
    assert rows(fresh, "SELECT count(*) FROM active_sessions") == [(0,)]


def test_restore_over_dead_servers_proceeds(fresh: str, tmp_path: Path) -> None:
    file = backup(fresh, tmp_path / "chat.dump").file
    run(fresh, LIVING.replace("+ interval", "- interval"))
    assert chatsys("db", "restore", str(file), "--yes", "--database-url", fresh).returncode == 0


def test_dry_run_of_a_restore_changes_nothing(fresh: str, empty: str, tmp_path: Path) -> None:
    file = backup(fresh, tmp_path / "chat.dump").file
    said = chatsys("db", "restore", str(file), "--dry-run", "--database-url", empty)
    assert said.stdout.startswith("Would replace the 0 tables of ")
    assert content(empty) == ()


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.95, 0.999])
@FORMATS
def test_truncated_backup_changes_nothing(fresh: str, tmp_path: Path, name: str, part: float) -> None:
    fill_chat(fresh, 300)
    before = content(fresh)
    whole = backup(fresh, tmp_path / name).file.read_bytes()
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(OperatorError):
        restore(fresh, cut)
    assert content(fresh) == before


def test_failing_statement_in_a_backup_changes_nothing(fresh: str, tmp_path: Path) -> None:
    fill_chat(fresh, 30)
    written = backup(fresh, tmp_path / "chat.sql").file
    before = content(fresh)
    text = written.read_text()
    written.write_text(
        text.replace("-- PostgreSQL database dump complete", "SELECT 1 / 0;\n-- PostgreSQL database dump complete")
    )
    with pytest.raises(OperatorError, match="nothing was changed: division by zero"):
        restore(fresh, written)
    assert content(fresh) == before


@pytest.mark.process
def test_client_older_than_the_server_is_explained() -> None:
    with pytest.raises(OperatorError, match="The server is PostgreSQL 99, but the newest pg_dump here") as failed:
        dumping_tools(read_url("postgresql://localhost/chat"), 99)
    assert failed.value.hint.endswith("apt-get install postgresql-client-99")


def test_password_is_passed_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "another")
    monkeypatch.setenv("PGHOST", "elsewhere")
    given = environment("postgresql://ann:p%40ss%2Fw%3Ard@db.example:6432/chat?sslmode=require")
    assert given["PGPASSWORD"] == "p@ss/w:rd"
    assert (given["PGHOST"], given["PGPORT"], given["PGDATABASE"]) == ("db.example", "6432", "chat")
    assert given["PGSSLMODE"] == "require"


def test_scratch_database_needs_the_right_to_create_one(server: Server, fresh: str) -> None:
    with role(server) as name, pytest.raises(OperatorError) as failed, scratch_database(as_role(fresh, name)):
        pass
    assert failed.value.hint == f"As a superuser: ALTER ROLE {name} CREATEDB"


def test_verification_names_a_difference() -> None:
    one = TableFingerprint(table="a", rows=1, checksum="1")
    other = TableFingerprint(table="a", rows=1, checksum="2")
    assert differences((one,), (one,)) == []
    assert differences((one,), (other,)) == ["a has the same number of rows, but not the same content."]
    assert differences((one,), ()) == ["a is on one side only."]
