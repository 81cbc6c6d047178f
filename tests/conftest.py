"""Databases and stores for every test.

All test processes share two servers: an embedded PostgreSQL 18, and the system's PostgreSQL (15 on Debian 12). Each
test gets its own scratch database, copied from a template that holds the schema. It is dropped after the test.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import hypothesis
import psycopg
import pytest

from chatsys.chat import passwords
from chatsys.database import admin as database_admin
from chatsys.database.embedded import LOCALE, embedded_server
from chatsys.lab.network.packets import NEEDS_ROOT, why_none_can_be_dropped
from chatsys.settings import rows
from chatsys.store.address import with_database
from chatsys.store.contract import Store
from chatsys.store.opening import open_store
from chatsys.store.options import StoreOptions
from tests import needs

TEMPLATE = "chatsys_template"
PORTS = range(18_000, 30_000)
"""Below the range from which Linux assigns ports on request."""
_FOLDER = "PYTEST_CHATSYS_FOLDER"
_FAST = {"fsync": "off", "full_page_writes": "off", "max_connections": "300", "shared_buffers": "128MB"}


class ScratchServer:
    """A server on which tests create their own databases."""

    def __init__(self, url: str) -> None:
        self.url = url
        with self._admin() as admin:
            admin.execute("SELECT pg_advisory_lock(42)")  # the other test processes wait for the template
            known = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (TEMPLATE,)).fetchone()
            if known is None:
                self._make_template(admin)

    @contextmanager
    def database(self, template: str = TEMPLATE) -> Iterator[str]:
        """Create a database, a copy of ``template``; return its URL."""
        name = f"scratch_{uuid.uuid4().hex}"
        with self._admin() as admin:
            # From version 15 on, a copy goes through the WAL by default; without fsync, copying files is faster.
            strategy = " STRATEGY FILE_COPY" if admin.info.server_version >= 150_000 else ""
            admin.execute(f'CREATE DATABASE {name} TEMPLATE "{template}"{strategy}')
        try:
            yield with_database(self.url, name)
        finally:
            with self._admin() as admin:
                admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _admin(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.url, autocommit=True)

    def _make_template(self, admin: psycopg.Connection[tuple[object, ...]]) -> None:
        unfinished = TEMPLATE + "_unfinished"
        admin.execute(f"DROP DATABASE IF EXISTS {unfinished}")
        admin.execute(f"CREATE DATABASE {unfinished} TEMPLATE template0")
        database_admin.upgrade(with_database(self.url, unfinished))
        admin.execute(f"ALTER DATABASE {unfinished} RENAME TO {TEMPLATE}")


_SHOWN = {"NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "PY_COLORS", "GITHUB_ACTIONS", "TERM", "COLORTERM"}
_SHOWN |= {"COLUMNS", "LINES", "PAGER"}


def _scrub() -> None:
    """Remove what chatsys, libpq and the terminal's libraries would read: each test sets what it needs."""
    settings = {row.name for row in rows()}
    for name in list(os.environ):
        if name in settings | _SHOWN or name.startswith(("CHATSYS_", "PG")):
            del os.environ[name]


_scrub()  # at import: a conftest below may already copy the environment when it is imported


def passable(folder: str) -> Path:
    """Let other accounts pass through the folder: root starts PostgreSQL under another account."""
    Path(folder).chmod(0o711)
    return Path(folder)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let ``make versions`` replace the embedded PostgreSQL with another version."""
    parser.addoption("--postgresql", metavar="VERSION", help="major version of a PostgreSQL in tests/versions")


def pytest_configure(config: pytest.Config) -> None:
    """Create the folder that all test processes of this run share.

    It is not pytest's own temporary folder, because each new run of pytest closes that one to other accounts, and
    root starts PostgreSQL under another account.
    """
    hypothesis.settings.register_profile(  # no test has a deadline, no example is kept
        "chatsys", deadline=None, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("chatsys")
    needs.configure(config)
    if not hasattr(config, "workerinput"):
        os.environ[_FOLDER] = str(passable(tempfile.mkdtemp(prefix="chatsys-tests-")))
        # A shell makes its background jobs ignore Ctrl-C, and the programs that tests start would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the markers of what it needs."""
    for item in items:
        needs.declare(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Guard the fixtures of a test."""
    return (yield from needs.guarded(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Guard a test."""
    return (yield from needs.guarded(item))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the shared folder."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(_FOLDER), ignore_errors=True)


COST = passwords.COST
passwords.COST = 4  # a hash takes one millisecond instead of fifty, and tests as much
passwords._DECOY = b"$2b$04$" + passwords._DECOY.removeprefix(b"$2b$10$")


@pytest.fixture
def real_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make hashes cost as much as in production."""
    monkeypatch.setattr(passwords, "COST", COST)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """A folder that all test processes of this run share."""
    return Path(os.environ[_FOLDER])


@pytest.fixture
def server_folder(shared_folder: Path) -> Iterator[Path]:
    """A folder for the server of one test."""
    folder = passable(tempfile.mkdtemp(dir=shared_folder))
    yield folder
    shutil.rmtree(folder)


class Chosen(TypedDict):
    """The PostgreSQL version that a server runs."""

    programs: Path | None
    locale: tuple[str, ...]


@pytest.fixture(scope="session")
def chosen(pytestconfig: pytest.Config) -> Chosen:
    """The embedded PostgreSQL 18, or the version of ``--postgresql`` that ``make versions`` downloaded."""
    version = pytestconfig.getoption("--postgresql")
    if version is None:
        return {"programs": None, "locale": LOCALE}
    programs = Path(__file__).parent / "versions" / "node_modules" / f"postgres{version}" / "native" / "bin"
    assert (programs / "initdb").exists(), f"there is no PostgreSQL {version} yet: make versions POSTGRESQL={version}"
    return {"programs": programs, "locale": ("--locale=C.UTF-8",)}  # all versions know it


@pytest.fixture(scope="session")
def postgres_server(shared_folder: Path, chosen: Chosen) -> Iterator[ScratchServer]:
    """The embedded PostgreSQL 18, or the version of ``--postgresql``."""
    with embedded_server(shared_folder / "pg18", **chosen, settings=_FAST) as url:
        yield ScratchServer(url)


_candidates = itertools.cycle(random.sample(PORTS, len(PORTS)))


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nothing listens and which no other test process gets.

    Each process has its own share of the ports, so none takes a port that another has just found free.
    """
    share, shares = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), 8
    for port in _candidates:
        if port % shares != share % shares:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")


@pytest.fixture
def packets_can_be_dropped() -> None:
    """Skip a test where packets can't be dropped. That needs root, and then CI must have everything else."""
    if reason := why_none_can_be_dropped():
        assert not os.environ.get("CI") or reason == NEEDS_ROOT, reason
        pytest.skip(reason)


def system_programs() -> Path:
    """Return the folder of the system's PostgreSQL: 15 if it is installed, else another version."""
    found = sorted(
        (folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if (folder / "initdb").exists()),
        key=lambda folder: (folder.parent.name != "15", folder.parent.name),
    )
    assert found, "these tests need a PostgreSQL of the system: apt-get install postgresql"
    return found[0]


@pytest.fixture(scope="session")
def postgres15_server(shared_folder: Path) -> Iterator[ScratchServer]:
    """The system's PostgreSQL (Debian 12: 15), with a locale whose sort order and letter case differ from those of
    C."""
    programs = system_programs()
    locale = ["--locale=C.UTF-8"]
    if programs.parent.name != "14":  # this version has no such provider
        locale += ["--locale-provider=icu", "--icu-locale=tr-TR"]
    with embedded_server(shared_folder / "pg15", programs=programs, locale=locale, settings=_FAST) as url:
        yield ScratchServer(url)


@pytest.fixture
def postgres_url(postgres_server: ScratchServer) -> Iterator[str]:
    """The URL of a new database with the schema, on PostgreSQL 18."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server: ScratchServer) -> Iterator[str]:
    """The URL of a new empty database, on PostgreSQL 18."""
    with postgres_server.database("template0") as url:
        yield url


@pytest.fixture
def postgres15_url(postgres15_server: ScratchServer) -> Iterator[str]:
    """The URL of a new database with the schema, on the system's PostgreSQL."""
    with postgres15_server.database() as url:
        yield url


@pytest.fixture(params=["memory", pytest.param("postgresql", marks=pytest.mark.database)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """An empty store with the default rooms, once of each kind."""
    url = "memory://" if request.param == "memory" else request.getfixturevalue("postgres_url")
    async with open_store(url, StoreOptions(pool_size=6)) as opened:
        yield opened
