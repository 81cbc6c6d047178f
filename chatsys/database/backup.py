"""Back up a database to one file, and prove that the file can be restored."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from chatsys.database.connecting import connected, only_row
from chatsys.database.fingerprint import TableFingerprint, differences, fingerprint
from chatsys.database.progress import Dumped, Report, silent
from chatsys.database.restore import restore
from chatsys.database.tools import dumping_tools, environment, failure
from chatsys.errors import OperatorError
from chatsys.store.address import read_url, with_database

_LOOK_SECONDS = 0.5
"""Seconds between two checks of pg_dump's progress."""


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A finished backup: its size in bytes, the seconds it took, and the fingerprints that a restore has confirmed."""

    file: Path
    size: int
    seconds: float
    proof: tuple[TableFingerprint, ...] = ()


def backup(url: str, file: Path, *, verify: bool = False, report: Report = silent) -> Backup:
    """Write the whole database to ``file``: plain SQL if its name ends in .sql, else pg_dump's custom format.

    The file gets its name only when it is complete. With ``verify``, it is first restored into a scratch database on
    the same server, and the row count and checksum of every table are compared with the dumped snapshot. ``report``
    gets the progress. Raises OperatorError if pg_dump fails or the copy differs, and StoreError if the database can't
    be reached.
    """
    started = time.monotonic()
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}.partial")
    try:
        with connected(url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            _dump(connection, url, partial, plain=file.suffix == ".sql", report=report)
            expected = fingerprint(connection, report) if verify else ()
        if verify:
            _prove(url, partial, expected, report)
        partial.replace(file)
    except OSError as error:
        raise OperatorError(f"{file} can't be written: {error.strerror}.", hint="Choose another folder.") from error
    finally:
        partial.unlink(missing_ok=True)
    return Backup(file=file, size=file.stat().st_size, seconds=time.monotonic() - started, proof=expected)


def _dump(connection: psycopg.Connection[Any], url: str, file: Path, *, plain: bool, report: Report) -> None:
    """Run pg_dump on the snapshot that ``connection`` holds, so that both see the same rows."""
    tools = dumping_tools(read_url(url), connection.info.server_version // 10_000)
    (snapshot,) = only_row(connection, "SELECT pg_export_snapshot()")
    file.touch(mode=0o600, exist_ok=False)  # a dump contains password hashes
    command = tools.command(
        "pg_dump",
        f"--format={'plain' if plain else 'custom'}",
        "--no-owner",
        "--no-privileges",
        "--no-password",
        f"--snapshot={snapshot}",
        f"--file={file}",
    )
    output, status = _watched(command, environment(url), Dumped(connection), report)
    if status:
        raise OperatorError(
            f"pg_dump failed: {failure(output)}.",
            hint="The role must be able to read every table; run it as the owner of the database.",
        )
    with file.open("rb") as written:
        os.fsync(written.fileno())


def _watched(command: list[str], environ: dict[str, str], dumped: Dumped, report: Report) -> tuple[str, int]:
    """Run pg_dump to its end and report its progress. Returns its error output and its exit status."""
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while True:
                try:
                    return process.communicate(timeout=_LOOK_SECONDS)[1], process.returncode
                except subprocess.TimeoutExpired:
                    report("", *dumped.look())
        except BaseException:
            process.kill()
            raise


def _prove(url: str, file: Path, expected: tuple[TableFingerprint, ...], report: Report) -> None:
    with scratch_database(url) as scratch:
        restore(scratch, file, report=lambda doing, done, whole: report(doing or "Restoring a copy", done, whole))
        with connected(scratch) as connection:
            found = fingerprint(connection, report)
    wrong = differences(expected, found)
    if wrong:
        raise OperatorError(
            "The backup differs from the database. " + " ".join(wrong),
            hint="No file was written. Check the disk, then run the backup again.",
        )


@contextmanager
def scratch_database(url: str) -> Iterator[str]:
    """The URL of an empty database on the same server. It is dropped at the end.

    Raises OperatorError if the role may not create databases.
    """
    name = f"chatsys_scratch_{secrets.token_hex(6)}"
    with connected(url, autocommit=True) as connection:
        try:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege as error:
            raise OperatorError(
                "The role may not create a scratch database.",
                hint=f"As a superuser: ALTER ROLE {connection.info.user} CREATEDB",
            ) from error
        try:
            yield with_database(url, name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
