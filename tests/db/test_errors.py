"""Each way in which a database refuses has its own code, message and hint, the same through both drivers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from chatsys import errors
from chatsys.cli.errors import sentences
from chatsys.database.embedded import embedded_server, wheel_programs
from chatsys.errors import StoreError
from chatsys.store.address import with_database
from chatsys.store.opening import open_store
from chatsys.store.options import StoreOptions
from tests.conftest import free_port, system_programs
from tests.db.conftest import Server, as_role, chatsys, role, rows, run


async def refusal(url: str, command: tuple[str, ...] = ("db", "status"), **options: object) -> StoreError:
    """Return the error that opening a store raises; a chatsys command must print the same error."""
    with pytest.raises(StoreError) as refused:
        async with open_store(url, StoreOptions(pool_size=5, connect_timeout=5, **options)):  # type: ignore[arg-type]
            pass
    said = chatsys(*command, "--database-url", url)
    assert said.returncode == 1
    assert said.stderr == f"Error: {sentences(refused.value)}\n"
    return refused.value


def refused_command(*arguments: str) -> str:
    """Return what a failing command prints."""
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


@pytest.mark.process
async def test_refused_connection_has_its_own_error() -> None:
    error = await refusal(f"postgresql://ann@127.0.0.1:{free_port()}/chat")
    assert type(error) is errors.ConnectionRefused
    assert "Start PostgreSQL" in error.hint


@pytest.mark.process
async def test_missing_socket_is_reported_as_connection_refused(tmp_path: Path) -> None:
    error = await refusal(f"postgresql://ann@/chat?host={quote(str(tmp_path))}")
    assert type(error) is errors.ConnectionRefused


@pytest.mark.process
async def test_unresolved_host_has_its_own_error() -> None:
    error = await refusal("postgresql://ann@no-such-host.invalid/chat")
    assert type(error) is errors.HostNotFound
    assert "no-such-host.invalid" in error.message


async def test_wrong_password_has_its_own_error(server: Server, fresh: str) -> None:
    with role(server, "LOGIN PASSWORD 'the right one'") as name, on_tcp(server, f"local all {name} scram-sha-256\n"):
        right = as_role(fresh, f"{name}:{quote('the right one')}")
        # the role may connect, but it owns no table
        assert chatsys("db", "status", "--database-url", right).returncode == 1
        error = await refusal(as_role(fresh, f"{name}:wrong"))
    assert type(error) is errors.AuthenticationFailed
    assert "wrong" not in error.message


async def test_missing_role_has_its_own_error(fresh: str) -> None:
    error = await refusal(as_role(fresh, "nobody_knows_me"))
    assert type(error) is errors.AuthenticationFailed


async def test_missing_database_has_its_own_error(server: Server) -> None:
    error = await refusal(with_database(server.url, "missing"))
    assert type(error) is errors.DatabaseMissing
    assert error.hint == "Create it with `chatsys db init`."


async def test_too_many_connections_has_its_own_error(server: Server, fresh: str) -> None:
    with role(server, "LOGIN CONNECTION LIMIT 1") as name:
        url = as_role(fresh, name)
        with psycopg.connect(url):
            error = await refusal(url)
    assert type(error) is errors.TooManyConnections


def test_forbidden_extension_has_its_own_error(server: Server, empty: str) -> None:
    with role(server) as name:
        run(empty, f"GRANT ALL ON SCHEMA public TO {name}")
        said = refused_command("db", "init", "--database-url", as_role(empty, name))
        run(empty, f"DROP OWNED BY {name}")
    assert "may not create the extension pg_trgm" in said
    assert "CREATE EXTENSION pg_trgm" in said


@pytest.mark.parametrize("missing", ["CREATE", "ALL"])
def test_missing_right_on_schema_public_has_its_own_error(server: Server, empty: str, missing: str) -> None:
    run(empty, f"REVOKE {missing} ON SCHEMA public FROM PUBLIC")
    with role(server) as name:
        said = refused_command("db", "init", "--database-url", as_role(empty, name))
    assert f"The role {name} " in said
    assert "GRANT ALL ON SCHEMA public" in said


def test_statement_timeout_has_its_own_error(fresh: str) -> None:
    set_for_database(fresh, "statement_timeout = 300")
    with psycopg.connect(fresh) as other:
        other.execute("LOCK TABLE messages")
        said = refused_command("db", "status", "--database-url", fresh)
    assert "A statement took longer than the statement timeout. Look with" in said


def test_read_only_database_has_its_own_error(empty: str) -> None:
    set_for_database(empty, "default_transaction_read_only = on")
    said = refused_command("db", "init", "--database-url", empty)
    assert "is read-only or a standby. Point DATABASE_URL at the primary" in said


def set_for_database(url: str, setting: str) -> None:
    """Change a setting for each new session of the database."""
    name = rows(url, "SELECT current_database()")[0][0]
    run(url, f"ALTER DATABASE {name} SET {setting}")


@pytest.mark.process
def test_standby_has_its_own_error(tmp_path: Path) -> None:
    primary, standby = tmp_path / "primary", tmp_path / "standby"
    with embedded_server(primary):
        pass
    shutil.copytree(primary / "data", standby / "data", copy_function=_copy_owned)
    _copy_owner(primary / "data", standby / "data")
    (standby / "data" / "standby.signal").touch()
    with embedded_server(standby) as url:
        said = refused_command("db", "init", "--yes", "--database-url", url)
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


@pytest.mark.process
async def test_shutdown_of_the_server_has_its_own_error(tmp_path: Path) -> None:
    with embedded_server(tmp_path / "pg") as url, psycopg.connect(url):
        pid = int((tmp_path / "pg" / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGTERM)  # the server waits for the session above, and refuses new ones
        error = await refusal(url)
    assert type(error) is errors.ServerShuttingDown


def test_full_disk_has_its_own_error(server: Server, empty: str, server_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "chat.sql"
    lines = "\n".join("x" * 1_000 for _ in range(20_000))
    file.write_text(
        f"CREATE TABLE public.filler (text text);\nCOPY public.filler (text) FROM stdin;\n{lines}\n\\.\n"
        "-- PostgreSQL database dump complete\n"
    )
    with full_disk(server, server_folder) if may_mount() else as_if_full(empty) as url:
        said = refused_command("db", "restore", str(file), "--yes", "--database-url", url)
        assert "nothing was changed" in said
        assert "No space left on device" in said
        if may_mount():
            run(url, "CREATE TABLE filler (text text)")
            _fill(url)
        said = refused_command("db", "init", "--yes", "--database-url", url)
    assert "The disk of the database" in said
    assert "chatsys db cleanup" in said


def may_mount() -> bool:
    """Return whether Linux lets this process mount a disk: root in a container often lacks CAP_SYS_ADMIN (21)."""
    status = Path("/proc/self/status")
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE) if status.exists() else None
    return found is not None and bool(int(found[1], 16) >> 21 & 1)


@contextmanager
def as_if_full(url: str) -> Iterator[str]:
    """Where mounting a small disk is not allowed, the server raises the error of a full disk."""
    run(
        url,
        "CREATE SCHEMA other; CREATE FUNCTION other.full() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;"
        " CREATE EVENT TRIGGER is_full ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'CREATE EXTENSION')"
        " EXECUTE FUNCTION other.full()",
    )
    yield url


def _fill(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection, suppress(psycopg.errors.DiskFull):
        while True:
            connection.execute("INSERT INTO filler SELECT FROM generate_series(1, 10000)")


@contextmanager
def full_disk(like: Server, folder: Path) -> Iterator[str]:
    """A database on a file system of 16 MiB, on its own server: on a full disk nobody gets a checkpoint.

    The server has the same version as ``like``, and its data are in ``folder``.
    """
    with psycopg.connect(like.url) as connection:
        newest = connection.info.server_version >= 180000
    programs = wheel_programs() if newest else system_programs()
    small = tempfile.mkdtemp()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", small], check=True)
    try:
        with embedded_server(folder / "pg", programs=programs, locale=("--locale=C.UTF-8",)) as url:
            with psycopg.connect(url, autocommit=True) as admin:
                owner = Path(_one(admin, "SHOW data_directory")).stat()
                os.chown(small, owner.st_uid, owner.st_gid)
                admin.execute(f"CREATE TABLESPACE small LOCATION '{small}'")
                admin.execute("CREATE DATABASE on_small TEMPLATE template0 TABLESPACE small")
            yield with_database(url, "on_small")
    finally:
        subprocess.run(["umount", small], check=True)
        Path(small).rmdir()
