"""A site for faults: its own PostgreSQL, chat servers, a proxy in front of PostgreSQL for each, perhaps a broker."""

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
"""Ports below those that Linux, macOS and Windows give to outgoing connections."""
DISK_MIB = 700
LOWEST_PRIORITY = 19
Result = TypeVar("Result")


class SiteKind(enum.StrEnum):
    """The kinds of sites that faults need."""

    PLAIN = "plain"
    REDIS = "Redis as the bus"
    NATS = "NATS as the bus"
    SMALL_QUEUE = "a short queue of NOTIFY"
    STANDBY = "a standby"
    EMBEDDED = "the servers' own embedded PostgreSQL"
    WORKERS = "two workers"
    FAKED_CLOCK = "a clock that can be changed"
    SMALL_DISK = "a small disk"


def faketime() -> Path | None:
    """The library that fakes a clock; None if it is not installed."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def _stable_port() -> int:
    """A free port that no outgoing connection can take while its server is down."""
    while True:
        port = random.randint(*_PORTS)  # noqa: S311 - not a secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class SiteServer:
    """One chat server and its own proxy to PostgreSQL. ``restarts`` counts how often a fault ended the server."""

    def __init__(self, site: Site, number: int, proxy: AnswerProxy, settings: dict[str, str]) -> None:
        self.number = number
        self.proxy = proxy
        self.restarts = self.restarts_seen = 0
        self.status: int | None = None
        self._site = site
        self._settings = settings
        self._port = _stable_port()
        self._stack = ExitStack()
        self._process: ServerProcess | None = None

    @property
    def process(self) -> ServerProcess:
        """The running process."""
        assert self._process is not None
        return self._process

    def address(self) -> str:
        """The server's URL, also while it is down."""
        return self.process.url

    async def start(self) -> None:
        """Start the server, always on the same port."""
        url = self._site.url_through(self.proxy)
        settings = self._site.settings | self._settings
        server = chat_server(url, settings=settings, program=this_program(self._site.import_first), port=self._port)
        self._process = await asyncio.to_thread(self._stack.enter_context, server)

    async def stop(self, signum: signal.Signals = signal.SIGTERM, seconds: float = 15) -> None:
        """Send the server a signal and wait until it ends. ``status`` is its exit status, None if it did not end."""
        self.restarts += 1
        self.process.popen.send_signal(signum)
        with suppress(TimeoutExpired):
            await asyncio.to_thread(self.process.popen.wait, seconds)
        self.status = self.process.popen.poll()
        await self.close()

    async def close(self) -> None:
        """End the server, by force if necessary."""
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
        """The server's log since its last start."""
        return "" if self.process.log is None else self.process.log.read_text("utf-8", "replace")


class Site:
    """An async context manager. The servers get ``settings``, and import from the folders ``import_first`` first."""

    def __init__(
        self,
        servers: int = 2,
        *,
        kind: SiteKind = SiteKind.PLAIN,
        settings: dict[str, str] | None = None,
        import_first: tuple[Path, ...] = (),
    ) -> None:
        self.settings = {"DB_POOL_SIZE": POOL, "CHATSYS_LEASE": LEASE, "JWT_SECRET": secrets.token_hex(32)}
        self.settings |= settings or {}
        self.import_first = import_first
        self.servers: list[SiteServer] = []
        self.broker: ProxiedBroker | None = _BROKERS[kind]() if kind in _BROKERS else None
        self.disk: Path | None = None
        self._kind = kind
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
            if self._kind is SiteKind.SMALL_DISK:
                self._mount()
            if self._kind is SiteKind.EMBEDDED:
                self.url = f"postgresql://chatsys@/chatsys?host={self._folder}/run"
            else:
                await self.start_database()
            if self.broker is not None:
                await self._stack.enter_async_context(self.broker)
            self._add_settings()
            if self._kind is SiteKind.STANDBY:
                await self._make_standby()
            for number in range(self._count):
                proxy = AnswerProxy(self._socket())
                await self._stack.enter_async_context(proxy)
                own = {} if self.broker is None else {"CHATSYS_BUS_URL": await self.broker.add()}
                self.servers.append(SiteServer(self, number, proxy, own))
            await self.servers[0].start()  # first, because it creates the tables
            await asyncio.gather(*(server.start() for server in self.servers[1:]))
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

    async def in_process(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run a function in another process with the lowest priority, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._processes, work, *arguments)

    def _add_settings(self) -> None:
        """Add the settings of servers on this kind of site."""
        if self._kind is SiteKind.WORKERS:
            self.settings["CHATSYS_WORKERS"] = "2"
        elif self._kind is SiteKind.FAKED_CLOCK:
            self.set_clock("+0")
            self.settings |= {
                "LD_PRELOAD": str(faketime()),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }

    def set_clock(self, offset: str) -> None:
        """Shift the servers' clock by seconds, such as ``+3600``, on a site of kind FAKED_CLOCK."""
        self._clock.write_text(offset + "\n")

    @property
    def _clock(self) -> Path:
        return self._folder / "clock"

    def _mount(self) -> None:
        """Mount a separate disk for PostgreSQL, small enough to be filled."""
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0755", "tmpfs", str(self._folder)]
        subprocess.run(mount, check=True)
        self._stack.callback(subprocess.run, ["umount", "-l", str(self._folder)], check=False)
        self.disk = self._folder

    # -- the database

    async def start_database(self) -> None:
        """Start PostgreSQL, for the first time or after it was killed."""
        tuning = _TUNING | (_SMALL_QUEUE if self._kind is SiteKind.SMALL_QUEUE else {})
        server = embedded_server(self._folder, settings=tuning)
        self.url = await asyncio.to_thread(self._database.enter_context, server)

    async def _make_standby(self) -> None:
        """Create a streaming standby with pg_basebackup. The primary waits for it in each commit."""
        rules = self._folder / "data" / "pg_hba.conf"
        rules.write_text(rules.read_text(encoding="utf-8") + "local replication all trust\n", encoding="utf-8")
        copy = self._folder / "standby" / "data"
        await asyncio.to_thread(self._copy_primary, copy)
        server = embedded_server(copy.parent, settings=_TUNING)
        self.standby_url = await asyncio.to_thread(self._database.enter_context, server)
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
        """Make the primary read-only, promote the standby, and send new connections to it."""
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

    def signal_database(self, signum: signal.Signals) -> None:
        """Send a signal to each of PostgreSQL's processes."""
        for process in self.postgres():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signum)

    async def wait_for_database_end(self, seconds: float = 30) -> None:
        """Wait up to ``seconds`` until the postmaster has ended."""
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            await asyncio.to_thread(self.postmaster().wait, seconds)

    async def sql(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser, without the proxies, and return its rows."""
        return await asyncio.to_thread(self._sql, text, parameters)

    def _sql(self, text: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(text.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    async def violated_invariants(self) -> list[str]:
        """The invariants in ``database/invariants`` that are violated, each with its first row."""
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
        """The database's URL through a proxy. An embedded database has no proxy: its URL names its folder."""
        if self._kind is SiteKind.EMBEDDED:
            return f"embedded://{self._folder}"
        parts = urlsplit(self.url)
        return f"postgresql://{parts.username}@127.0.0.1:{proxy.port}{parts.path}?sslmode=disable"

    def _socket(self) -> str:
        query = parse_qs(urlsplit(self.url).query)
        return f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}"
