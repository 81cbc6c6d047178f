"""What faults happen to: a PostgreSQL of its own, a proxy before it for each server, servers, and perhaps a broker."""

from __future__ import annotations

import asyncio
import enum
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, ExitStack, suppress
from multiprocessing import get_context
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg

from chatsys.client.requests import request
from chatsys.database.embedded import embedded_server, wheel_programs
from chatsys.lab.faults.answers import AnswerProxy
from chatsys.lab.faults.broker import ProxiedBroker, nats, redis
from chatsys.lab.subjects.servers import ServerProcess, chat_server, this_program
from chatsys.resources import database_dir
from chatsys.results.audit import Unreadable

_TUNING = {"max_connections": "100", "log_min_messages": "panic", "hot_standby": "on"}
_SMALL_QUEUE = {"max_notify_queue_pages": "64"}
_BROKERS = {"Redis as the bus": redis, "NATS as the bus": nats}
POOL = "12"
LEASE = "6"
_PORTS = (20_000, 32_000)
"""Below those that Linux, macOS and Windows give to outgoing connections."""
DISK_MIB = 700
LOWEST_PRIORITY = 19
Result = TypeVar("Result")


class SiteKind(enum.StrEnum):
    """Kinds of sites: what some faults need."""

    PLAIN = "plain"
    REDIS = "Redis as the bus"
    NATS = "NATS as the bus"
    SMALL_QUEUE = "a short queue of NOTIFY"
    STANDBY = "a standby"
    EMBEDDED = "the servers' own embedded PostgreSQL"
    WORKERS = "two workers"
    FAKED_CLOCK = "a clock that can be put forward"
    SMALL_DISK = "a small disk"


def faketime() -> Path | None:
    """The library that fakes a clock, where it is installed."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def _lasting_port() -> int:
    """A free port that no outgoing connection can take while its server is away."""
    while True:
        port = random.randint(*_PORTS)  # noqa: S311 - any will do
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class SiteServer:
    """One chat server behind its own proxy. ``restarts`` counts how often it was ended on purpose."""

    def __init__(self, site: Site, number: int, proxy: AnswerProxy, settings: dict[str, str]) -> None:
        self.number = number
        self.proxy = proxy
        self.restarts = self.restarts_seen = 0
        self.status: int | None = None
        self._site = site
        self._settings = settings
        self._port = _lasting_port()
        self._stack = ExitStack()
        self._process: ServerProcess | None = None

    @property
    def process(self) -> ServerProcess:
        """The running process."""
        assert self._process is not None
        return self._process

    def address(self) -> str:
        """Where it is, or was."""
        return self.process.url

    async def start(self) -> None:
        """Start it, on the port that it had before."""
        url = self._site.url_through(self.proxy)
        settings = self._site.settings | self._settings
        made = chat_server(url, settings=settings, program=this_program(self._site.first), port=self._port)
        self._process = await asyncio.to_thread(self._stack.enter_context, made)

    async def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 15) -> None:
        """Send it a signal, and wait until it has ended; ``status`` is then its exit status, None if it did not end."""
        self.restarts += 1
        self.process.popen.send_signal(number)
        with suppress(TimeoutExpired):
            await asyncio.to_thread(self.process.popen.wait, seconds)
        self.status = self.process.popen.poll()
        await self.close()

    async def close(self) -> None:
        """End it, however."""
        await asyncio.to_thread(self._stack.close)

    def read(self, path: str) -> bytes:
        """The body of a GET that must succeed. Raises Unreadable."""
        try:
            status, body = request(self.address(), "GET", path)
        except OSError as error:
            raise Unreadable(f"GET {path}: {error}") from error
        if status != 200:
            raise Unreadable(f"GET {path} answered {status}")
        return body

    def log(self) -> str:
        """What it has logged since it started."""
        return "" if self.process.log is None else self.process.log.read_text("utf-8", "replace")


class Site:
    """An async context manager. ``settings`` are the servers' own; ``first``: where they look for modules first."""

    def __init__(
        self,
        servers: int = 2,
        *,
        place: SiteKind = SiteKind.PLAIN,
        settings: dict[str, str] | None = None,
        first: tuple[Path, ...] = (),
    ) -> None:
        self.settings = {"DB_POOL_SIZE": POOL, "CHATSYS_LEASE": LEASE, "JWT_SECRET": secrets.token_hex(32)}
        self.settings |= settings or {}
        self.first = first
        self.servers: list[SiteServer] = []
        self.broker: ProxiedBroker | None = _BROKERS[place]() if place in _BROKERS else None
        self.disk: Path | None = None
        self._place = place
        self._count = servers
        self._folder = Path(tempfile.mkdtemp(prefix="chatsys-faults-"))
        self._database = ExitStack()
        self._stack = AsyncExitStack()
        self._processes = ProcessPoolExecutor(
            mp_context=get_context("spawn"), initializer=os.nice, initargs=(LOWEST_PRIORITY,)
        )
        self.url = self.standby_url = ""

    async def __aenter__(self) -> Site:
        try:
            if self._place is SiteKind.SMALL_DISK:
                self._mount()
            if self._place is SiteKind.EMBEDDED:
                self.url = f"postgresql://chatsys@/chatsys?host={self._folder}/run"
            else:
                await self.start_database()
            if self.broker is not None:
                await self._stack.enter_async_context(self.broker)
            self._furnish()
            if self._place is SiteKind.STANDBY:
                await self._make_standby()
            for number in range(self._count):
                proxy = AnswerProxy(self._socket())
                await self._stack.enter_async_context(proxy)
                own = {} if self.broker is None else {"CHATSYS_BUS_URL": await self.broker.add()}
                self.servers.append(SiteServer(self, number, proxy, own))
            await self.servers[0].start()  # it makes the tables
            await asyncio.gather(*(server.start() for server in self.servers[1:]))
            await self.elsewhere(os.getpid)  # a process that starts takes a processor for a second
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self.servers:
            await server.close()
        await asyncio.to_thread(self._processes.shutdown)
        await asyncio.to_thread(self._database.close)
        await self._stack.aclose()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def elsewhere(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """The result of a function that runs in another process, of the lowest priority."""
        return await asyncio.get_running_loop().run_in_executor(self._processes, work, *arguments)

    def _furnish(self) -> None:
        """What the servers of this kind of site are started with."""
        if self._place is SiteKind.WORKERS:
            self.settings["CHATSYS_WORKERS"] = "2"
        elif self._place is SiteKind.FAKED_CLOCK:
            self.set_clock("+0")
            self.settings |= {
                "LD_PRELOAD": str(faketime()),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }

    def set_clock(self, offset: str) -> None:
        """Put the servers' clock forward or back: ``+3600``; only where it is faked."""
        self._clock.write_text(offset + "\n")

    @property
    def _clock(self) -> Path:
        return self._folder / "clock"

    def _mount(self) -> None:
        """A disk of its own for PostgreSQL, small enough to be filled."""
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0755", "tmpfs", str(self._folder)]
        subprocess.run(mount, check=True)
        self._stack.callback(subprocess.run, ["umount", "-l", str(self._folder)], check=False)
        self.disk = self._folder

    # -- the database

    async def start_database(self) -> None:
        """Start PostgreSQL, also after it was killed."""
        tuning = _TUNING | (_SMALL_QUEUE if self._place is SiteKind.SMALL_QUEUE else {})
        made = embedded_server(self._folder, settings=tuning)
        self.url = await asyncio.to_thread(self._database.enter_context, made)

    async def _make_standby(self) -> None:
        """A streaming standby of the primary, as pg_basebackup makes it; the primary waits for it in each commit."""
        rules = self._folder / "data" / "pg_hba.conf"
        rules.write_text(rules.read_text(encoding="utf-8") + "local replication all trust\n", encoding="utf-8")
        copy = self._folder / "standby" / "data"
        await asyncio.to_thread(self._copy_primary, copy)
        made = embedded_server(copy.parent, settings=_TUNING)
        self.standby_url = await asyncio.to_thread(self._database.enter_context, made)
        await self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await self.sql("SELECT pg_reload_conf()")

    def _copy_primary(self, copy: Path) -> None:
        self._sql("SELECT pg_reload_conf()", ())
        copy.parent.mkdir()
        owner = (self._folder / "data").stat()
        folder = Path(self._socket()).parent
        program = str(wheel_programs() / "pg_basebackup")
        options = ["-R", "-X", "stream", "-c", "fast", "-U", "chatsys", "-h", str(folder)]
        subprocess.run([program, "-D", str(copy), *options], check=True, cwd="/", capture_output=True)
        for each in (copy, *copy.rglob("*")):
            os.chown(each, owner.st_uid, owner.st_gid)

    async def promote(self) -> None:
        """The primary turns read-only, the standby becomes the primary, and new connections lead to it."""
        await self.sql("ALTER SYSTEM SET default_transaction_read_only = on")
        await self.sql("ALTER SYSTEM RESET synchronous_standby_names")
        await self.sql("SELECT pg_reload_conf()")
        self.url = self.standby_url
        await self.sql("SELECT pg_promote()")
        for server in self.servers:
            server.proxy.target = self._socket()

    def postmaster(self) -> psutil.Process:
        """PostgreSQL's first process."""
        return psutil.Process(int((self._folder / "data" / "postmaster.pid").read_text().split()[0]))

    def postgres(self) -> list[psutil.Process]:
        """All of PostgreSQL's processes."""
        first = self.postmaster()
        return [first, *first.children(recursive=True)]

    def signal_database(self, number: signal.Signals) -> None:
        """Send a signal to each of its processes."""
        for process in self.postgres():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    async def ended_database(self, seconds: float = 30) -> None:
        """Wait until the postmaster has ended."""
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            await asyncio.to_thread(self.postmaster().wait, seconds)

    async def sql(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser, past the proxies; its rows."""
        return await asyncio.to_thread(self._sql, text, parameters)

    def _sql(self, text: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(text.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    async def violated(self) -> list[str]:
        """The invariants of ``database/invariants`` that do not hold, with their first row."""
        found = []
        for file in sorted((database_dir() / "invariants").glob("*.sql")):
            try:
                rows = await self.sql(file.read_text(encoding="utf-8"))
            except psycopg.OperationalError:
                return ["the database does not answer"]
            if rows:
                found.append(f"{file.stem}: {len(rows)} rows, such as {rows[0]}")
        return found

    def url_through(self, proxy: AnswerProxy) -> str:
        """The database's URL through a proxy; of an embedded one, which has no other, its folder."""
        if self._place is SiteKind.EMBEDDED:
            return f"embedded://{self._folder}"
        parts = urlsplit(self.url)
        return f"postgresql://{parts.username}@127.0.0.1:{proxy.port}{parts.path}?sslmode=disable"

    def _socket(self) -> str:
        query = parse_qs(urlsplit(self.url).query)
        return f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}"
