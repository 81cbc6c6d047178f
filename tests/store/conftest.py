"""A PostgreSQL store, records of its work, and people to write with."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psutil
import psycopg
import pytest
import uuid_utils

from chatsys.database.embedded import embedded_server
from chatsys.database.opening import open_prepared_store
from chatsys.model.rules import default_avatar
from chatsys.model.values import NewMessage, NewSession, Participant, User
from chatsys.store.options import StoreOptions
from chatsys.store.postgres import PostgresStore
from tests.conftest import free_port


def new_id() -> str:
    return str(uuid_utils.uuid7())


class Hands:
    """Makes the values that tests of this store write. Each time is a millisecond later."""

    def __init__(self) -> None:
        self._moment = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)

    def now(self) -> datetime:
        self._moment += timedelta(milliseconds=1)
        return self._moment

    new_id = staticmethod(new_id)

    @contextmanager
    def stopped(self, home: Path) -> Iterator[None]:
        """Stop the embedded server in ``home`` within the block, without asking its users."""
        process = psutil.Process(int((home / "data" / "postmaster.pid").read_text().split()[0]))
        process.send_signal(signal.SIGINT)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.02)
        yield
        with embedded_server(home):  # this starts it; it keeps running because its earlier users still exist
            pass

    def restart(self, home: Path) -> None:
        with self.stopped(home):
            pass

    def guest(self, name: str = "gus") -> Participant:
        return Participant(
            user_id=f"guest-{name}", username=name, display_name=name, avatar=default_avatar(name), guest=True
        )

    async def account(self, store: PostgresStore, name: str = "ann") -> Participant:
        """Store an account; return it as a participant."""
        user = User(
            user_id=new_id(),
            username=name,
            email=f"{name}@example.org",
            password_hash="x",
            display_name=name,
            avatar="",
            bio="",
            online=False,
            last_seen=None,
            created_at=self.now(),
            last_login=None,
        )
        await store.create_user(user)
        return Participant(user_id=user.user_id, username=name, display_name=name, avatar="")

    def new_message(
        self, who: Participant, room: str = "tea", text: str = "hello", client_id: str | None = None
    ) -> NewMessage:
        return NewMessage(
            message_id=new_id(), room=room, who=who, text=text, at=self.now(), client_message_id=client_id
        )

    def entry(self, who: Participant, room: str = "tea", server_id: str = "", socket_id: str = "") -> NewSession:
        return NewSession(
            session_id=new_id(),
            socket_id=socket_id or new_id(),
            room=room,
            who=who,
            at=self.now(),
            server_id=server_id or new_id(),
        )

    @asynccontextmanager
    async def opened(self, url: str, **options: object) -> AsyncIterator[PostgresStore]:
        """A store with few connections and these options."""
        async with open_prepared_store(url, msgspec.structs.replace(StoreOptions(pool_size=8), **options)) as store:
            yield store


class Observed:
    """The measurements that a store reports: the count of each, and the values."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}

    def __call__(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)

    @property
    def counts(self) -> Counter[str]:
        return Counter({name: len(values) for name, values in self.values.items()})

    def clear(self) -> None:
        self.values.clear()


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def observed() -> Observed:
    return Observed()


@pytest.fixture
async def pg(postgres_url: str, hands: Hands, observed: Observed) -> AsyncIterator[PostgresStore]:
    """A store on PostgreSQL 18."""
    async with hands.opened(postgres_url, observe=observed) as store:
        yield store


@pytest.fixture
def password_server(server_folder: Path) -> Iterator[str]:
    """The URL, over TCP and with a password ("right"), of a database on a server without TLS."""
    port = free_port()
    settings = {"listen_addresses": "127.0.0.1", "port": str(port), "fsync": "off"}
    with embedded_server(server_folder, settings=settings) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE ROLE writer LOGIN PASSWORD 'right'")
            connection.execute("CREATE DATABASE guarded OWNER writer")
            hba = server_folder / "data" / "pg_hba.conf"
            hba.write_text("local all chatsys trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        yield f"postgresql://writer:right@127.0.0.1:{port}/guarded"
