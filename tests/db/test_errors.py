"""Each way in which a database can refuse has its own code, sentence and next command, the same through both drivers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from chatsys import errors
from chatsys.cli.errors import sentences
from chatsys.errors import StoreError
from chatsys.store.embedded import embedded_server
from chatsys.store.opening import StoreOptions, open_store
from chatsys.store.postgres.address import with_database
from tests.db.conftest import Server, as_role, chatsys, free_port, role, run


async def refusal(url: str, command: tuple[str, ...] = ("db", "status"), **options: object) -> StoreError:
    """The error that opening a store raises; a chatsys command must say the same in its words."""
    with pytest.raises(StoreError) as refused:
        async with open_store(url, StoreOptions(pool_size=2, connect_timeout=5, create=False, **options)):  # type: ignore[arg-type]
            pass
    said = chatsys(*command, "--database-url", url)
    assert said.returncode == 1
    assert said.stderr == f"Error: {sentences(refused.value)}\n"
    return refused.value


def refused_command(*arguments: str) -> str:
    """What a failing command says."""
    said = chatsys(*arguments)
    assert said.returncode == 1
    assert said.stderr.startswith("Error: ")
    return said.stderr


@contextmanager
def on_tcp(server: Server, rules: str) -> Iterator[str]:
    """The server's URL over TCP while its pg_hba.conf begins with ``rules``."""
    with psycopg.connect(server.url, autocommit=True) as admin:
        file = Path(_one(admin, "SHOW hba_file"))
        before = file.read_text()
        file.write_text(rules + before)
        admin.execute("SELECT pg_reload_conf()")
        try:
            yield server.url
        finally:
            file.write_text(before)
            admin.execute("SELECT pg_reload_conf()")


def _one(connection: psycopg.Connection[tuple[str, ...]], query: str) -> str:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


async def test_connection_refused() -> None:
    error = await refusal(f"postgresql://ann@127.0.0.1:{free_port()}/chat")
    assert type(error) is errors.ConnectionRefused
    assert "Start PostgreSQL" in error.hint


async def test_a_socket_that_is_not_there_is_connection_refused(tmp_path: Path) -> None:
    error = await refusal(f"postgresql://ann@/chat?host={quote(str(tmp_path))}")
    assert type(error) is errors.ConnectionRefused


async def test_host_not_resolved() -> None:
    error = await refusal("postgresql://ann@no-such-host.invalid/chat")
    assert type(error) is errors.HostNotFound
    assert "no-such-host.invalid" in error.message


async def test_password_wrong(server: Server, fresh: str) -> None:
    with role(server, "LOGIN PASSWORD 'the right one'") as name, on_tcp(server, f"local all {name} scram-sha-256\n"):
        right = as_role(fresh, f"{name}:{quote('the right one')}")
        assert chatsys("db", "status", "--database-url", right).returncode == 1  # let in, but it owns no table
        error = await refusal(as_role(fresh, f"{name}:wrong"))
    assert type(error) is errors.AuthenticationFailed
    assert "wrong" not in error.message


async def test_a_role_that_does_not_exist(fresh: str) -> None:
    error = await refusal(as_role(fresh, "nobody_knows_me"))
    assert type(error) is errors.AuthenticationFailed


async def test_database_missing(server: Server) -> None:
    error = await refusal(with_database(server.url, "missing"))
    assert type(error) is errors.DatabaseMissing
    assert error.hint == "Create it with `chatsys db init`."


async def test_too_many_connections(server: Server, fresh: str) -> None:
    with role(server, "LOGIN CONNECTION LIMIT 1") as name:
        url = as_role(fresh, name)
        with psycopg.connect(url):
            error = await refusal(url)
    assert type(error) is errors.TooManyConnections


def test_extension_not_allowed(server: Server, empty: str) -> None:
    with role(server) as name:
        run(empty, f"GRANT ALL ON SCHEMA public TO {name}")
        said = refused_command("db", "init", "--database-url", as_role(empty, name))
        run(empty, f"DROP OWNED BY {name}")
    assert "may not create the extension pg_trgm" in said
    assert "CREATE EXTENSION pg_trgm" in said


def test_permission_denied_for_schema_public(server: Server, empty: str) -> None:
    run(empty, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
    with role(server) as name:
        said = refused_command("db", "init", "--database-url", as_role(empty, name))
    assert "permission denied for schema public" in said


def test_statement_timeout(server: Server, fresh: str) -> None:
    name = with_database(fresh, "")
    run(
        fresh, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET statement_timeout = 300', current_database()); END $$"
    )
    assert name
    with psycopg.connect(fresh) as other:
        other.execute("LOCK TABLE messages")
        said = refused_command("db", "status", "--database-url", fresh)
    assert "A statement took longer than the statement timeout. Look with" in said


def test_read_only_database(fresh: str) -> None:
    run(
        fresh,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());"
        " END $$",
    )
    run(fresh, "SET TRANSACTION READ WRITE; DROP TABLE IF EXISTS alembic_version")
    said = refused_command("db", "init", "--database-url", fresh)
    assert "is read-only or a standby. Point DATABASE_URL at the primary" in said


def test_a_standby_says_so(tmp_path: Path) -> None:
    primary, standby = tmp_path / "primary", tmp_path / "standby"
    with embedded_server(primary):
        pass
    shutil.copytree(primary / "data", standby / "data", copy_function=_copy_owned)
    _copy_owner(primary / "data", standby / "data")
    (standby / "data" / "standby.signal").touch()
    with embedded_server(standby) as url:
        said = refused_command("db", "init", "--database-url", url)
    assert "is read-only or a standby" in said


def _copy_owned(source: str, target: str) -> str:
    shutil.copy2(source, target)
    _copy_owner(Path(source), Path(target))
    return target


def _copy_owner(source: Path, target: Path) -> None:
    owner = source.stat()
    os.chown(target, owner.st_uid, owner.st_gid)
    for below in target.rglob("*"):
        os.chown(below, owner.st_uid, owner.st_gid)


async def test_server_shutting_down(tmp_path: Path) -> None:
    with embedded_server(tmp_path / "pg") as url, psycopg.connect(url):
        pid = int((tmp_path / "pg" / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGTERM)  # waits for the session above, and lets nobody else in
        error = await refusal(url)
    assert type(error) is errors.ServerShuttingDown


def test_disk_full(server: Server, tmp_path: Path) -> None:
    with full_disk(server, tmp_path) as url:
        run(url, "CREATE TABLE filler (text text)")
        file = tmp_path / "chat.sql"
        rows = "\n".join("x" * 1_000 for _ in range(20_000))
        file.write_text(
            f"CREATE TABLE public.filler (text text);\nCOPY public.filler (text) FROM stdin;\n{rows}\n\\.\n"
            "-- PostgreSQL database dump complete\n"
        )
        said = refused_command("db", "restore", str(file), "--yes", "--database-url", url)
        assert "No space left on device" in said
        assert "nothing was changed" in said
        full = refused_command("db", "init", "--database-url", url) if _fill(url) else ""
    assert "The disk of the database" in full
    assert "chatsys db cleanup" in full


def _fill(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            while True:
                connection.execute("INSERT INTO filler SELECT repeat('x', 7000) FROM generate_series(1, 10)")
        except psycopg.errors.DiskFull:
            return True


@contextmanager
def full_disk(server: Server, folder: Path) -> Iterator[str]:
    """A database on a file system of 16 MiB of its own."""
    small = folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", small], check=True)
    try:
        with psycopg.connect(server.url, autocommit=True) as admin:
            owner = Path(_one(admin, "SHOW data_directory")).stat()
            os.chown(small, owner.st_uid, owner.st_gid)
            admin.execute(f"CREATE TABLESPACE small LOCATION '{small}'")
            admin.execute("CREATE DATABASE on_small TEMPLATE template0 TABLESPACE small")
            try:
                yield with_database(server.url, "on_small")
            finally:
                admin.execute("DROP DATABASE on_small WITH (FORCE)")
                admin.execute("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", small], check=True)
