"""The process of the embedded server: starting and stopping it, and what its pid file says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psutil

from chatsys.database.embedded.account import HERE, ServerAccount
from chatsys.database.embedded.failures import failure
from chatsys.errors import EmbeddedFailed
from chatsys.interrupts import undisturbed

ROLE = DATABASE = "chatsys"
START_TIMEOUT = 300.0  # seconds; crash recovery of a large database takes long
STOP_TIMEOUT = 60.0
POLL = 0.02
_DETACH = '"$@" >&2 & echo $!'  # the shell exits and init adopts the server, so it never becomes our zombie
_SOCKET_PATH_MAX = 103  # sun_path of macOS, the shortest

_PRIVATE = {
    # Log neither statements nor the rows for which they failed: both contain names and email addresses.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}


class Postmaster:
    """The server process of the folder ``home``, no matter which program started it."""

    def __init__(self, home: Path, account: ServerAccount) -> None:
        self.home = home
        self.data = home / "data"
        self.log = home / "log"
        self._account = account
        self._run_before: Path | None = None
        """The socket's folder that clients already know."""

    def url(self) -> str:
        """The URL by which clients reach the server, over its Unix socket."""
        _, _, _, port, run, *_ = self._pid_file()
        self._run_before = self._folder_of(run)
        run = str(self._run_before)
        query = f"host={quote(run, safe='/')}" + (f"&port={port}" if port != "5432" else "")
        return f"postgresql://{ROLE}@/{DATABASE}?{query}"

    def start(self, settings: Mapping[str, str]) -> None:
        """Start the server and wait until it accepts connections. Raises EmbeddedFailed."""
        self._drop_stale_pid_file()
        run = self._socket_folder()
        if self._account.hidden:
            run = Path(str(run).replace(str(self.data), HERE))
        data = HERE if self._account.hidden else str(self.data)
        arguments = ["-D", data, "-k", '"' + str(run).replace('"', '""') + '"']
        for name, value in {**_PRIVATE, **settings}.items():
            arguments += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + START_TIMEOUT
        while not self._start_once(arguments, deadline):
            time.sleep(POLL)
        pid, _, started, *_ = self._pid_file()
        (self.home / "started").write_text(f"{pid} {started}\n", encoding="ascii")

    def _start_once(self, arguments: list[str], deadline: float) -> bool:
        """Start and wait until it accepts connections. False if processes of a killed server are still ending."""
        self.log.touch(mode=0o600)
        self.log.chmod(0o600)
        with self.log.open("ab") as log, undisturbed():
            before = log.tell()
            started = subprocess.run(
                ["/bin/sh", "-c", _DETACH, "sh", self._account.programs / "postgres", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.data if self._account.hidden else "/",
                start_new_session=True,  # Ctrl-C in the terminal is for us, not for the server
                check=True,
                **self._account.identity(),  # type: ignore[call-overload]
            )
        pid = int(started.stdout)
        try:
            return self._came_up(pid, before, deadline)
        except KeyboardInterrupt:
            with undisturbed():  # nobody else would stop it
                _shut_down(pid)
            raise

    def _came_up(self, pid: int, before: int, deadline: float) -> bool:
        """Wait until the started server accepts connections. False as for :meth:`_start_once`."""
        while time.monotonic() < deadline:
            if self.status(pid) == "ready":
                return True
            if not _alive(pid):
                output = self._log_since(before)
                if "is still in use" in output:
                    return False
                raise failure(output, self.home)
            time.sleep(POLL)
        raise EmbeddedFailed(
            f"The embedded PostgreSQL was not ready after {START_TIMEOUT:.0f} seconds.",
            hint=f"See {self.log}. If it is recovering, start again later.",
        )

    def stop(self) -> None:
        """Shut down the server if it is the one that chatsys started."""
        if not self.running():
            return
        pid, _, started, *_ = self._pid_file()
        marker = self.home / "started"
        if not marker.exists() or marker.read_text(encoding="ascii").split() != [pid, started]:
            return
        run = self._folder_of(self._pid_file()[4])
        if not _shut_down(int(pid)):
            raise EmbeddedFailed(
                f"The embedded PostgreSQL (pid {pid}) did not stop within {STOP_TIMEOUT:.0f} seconds.",
                hint=f"See {self.log}.",
            )
        if run.parent not in (self.home, self.data):
            shutil.rmtree(run, ignore_errors=True)

    def running(self) -> bool:
        """True if a server of this folder accepts connections. Waits for one that is starting or stopping."""
        deadline = time.monotonic() + START_TIMEOUT
        while (pid := self.pid()) is not None and time.monotonic() < deadline:
            if self.status(pid) == "ready":
                return True
            time.sleep(POLL)
        return False

    def status(self, pid: int) -> str:
        """The state that the server with this pid reports: ``starting``, ``ready`` or ``stopping``; empty at first."""
        lines = self._pid_file()
        return lines[7].strip() if len(lines) > 7 and lines[0] == str(pid) else ""

    def pid(self) -> int | None:
        """The pid of the server that runs on this data folder, or None."""
        try:
            pid = int(self._pid_file()[0])
            here = Path(psutil.Process(pid).cwd()) == self.data.resolve()
        except (IndexError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
            return None
        return pid if here and _alive(pid) else None

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _drop_stale_pid_file(self) -> None:
        """Remove a stale pid file whose pid belongs to another program. PostgreSQL removes all others itself."""
        lines = self._pid_file()
        if lines and lines[0].isdigit() and psutil.pid_exists(int(lines[0])):
            (self.data / "postmaster.pid").unlink()

    def _log_since(self, position: int) -> str:
        with self.log.open("rb") as log:
            log.seek(position)
            return log.read().decode("utf-8", "replace")

    def _socket_folder(self) -> Path:
        """``run/`` without what a killed server left, or a temporary folder if that path is too long for a socket.

        The temporary folder of a server that has ended is used again, because clients know its path.
        """
        lines = self._pid_file()
        run = (self.data if self._account.hidden else self.home) / "run"
        before = self._folder_of(lines[4]) if len(lines) > 4 else self._run_before
        if before is not None and before.parent == Path("/tmp") and before.is_dir():  # noqa: S108
            for left in before.iterdir():
                left.unlink()
            return before
        shutil.rmtree(run, ignore_errors=True)
        if len(os.fsencode(run / ".s.PGSQL.5432")) > _SOCKET_PATH_MAX:
            run = Path(tempfile.mkdtemp(prefix="chatsys-", dir="/tmp"))
        self._account.make_folder(run)
        return run

    def _folder_of(self, shown: str) -> Path:
        """The path of a folder that the server's pid file shows."""
        return self.data / shown.removeprefix(HERE).strip("/") if shown.startswith(HERE) else Path(shown)


def _shut_down(pid: int) -> bool:
    """Shut down in "fast" mode, which ends sessions and writes the data. Returns whether it ended in time."""
    deadline = time.monotonic() + STOP_TIMEOUT
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    while _alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
