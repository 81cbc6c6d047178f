"""The database and the way to it: connections cut, silent, dropped; locks; read-only; slots; changes by an operator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psycopg

from chatsys.client.asynchronous import connected
from chatsys.lab.faults.fault import UNNOTICED, Concern, Hit, Need, fault
from chatsys.lab.faults.lost import register
from chatsys.lab.faults.site import SiteKind
from chatsys.lab.network.packets import packets_dropped

_OTHERS = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
_UNIQUE = "SELECT indexrelid::regclass::text FROM pg_index WHERE indisunique AND indrelid = 'messages'::regclass"


@fault("all connections terminated by PostgreSQL", Concern.DATABASE, short=True)
async def terminated(hit: Hit) -> None:
    """pg_terminate_backend for each."""
    await hit.site.sql(f"SELECT pg_terminate_backend(pid) {_OTHERS}")


@fault("all connections to the database reset", Concern.DATABASE, short=True)
async def reset(hit: Hit) -> None:
    """TCP resets, and new connections are taken."""
    for server in hit.site.servers:
        server.proxy.reset()


async def _cut(hit: Hit, servers: int) -> None:
    chosen = hit.rng.sample(hit.site.servers, servers)
    for server in chosen:
        server.proxy.cut()
    await asyncio.sleep(hit.seconds)
    for server in chosen:
        await server.proxy.listen()


@fault("every server cut from the database for 8 s", Concern.DATABASE, "Nobody is thrown out.", seconds=8)
@fault("every server cut from the database for 1 s", Concern.DATABASE, "Nobody is thrown out.", short=True)
async def cut_all(hit: Hit) -> None:
    """Connections reset, new ones refused; 8 s are longer than a lease."""
    await _cut(hit, len(hit.site.servers))


@fault("one server cut from the database for 1 s", Concern.SERVER, "Nobody is thrown out.")
async def cut_one(hit: Hit) -> None:
    """Connections reset, new ones refused."""
    await _cut(hit, 1)


async def _silence(hit: Hit, seconds: float, *, new: bool, old: bool) -> None:
    for server in hit.site.servers:
        server.proxy.hush(new=new)
    await asyncio.sleep(seconds)
    for server in hit.site.servers:
        server.proxy.heal(old=old)


@fault("black hole for 40 s", Concern.DATABASE, seconds=40)
@fault("black hole for 8 s", Concern.DATABASE, seconds=8)
async def black_hole(hit: Hit) -> None:
    """All is acknowledged by TCP and goes nowhere; what was sent meanwhile is lost."""
    await _silence(hit, hit.seconds, new=True, old=True)


@fault("old connections silent for ever", Concern.DATABASE, seconds=1)
async def old_connections(hit: Hit) -> None:
    """A failover that leaves TCP connections open: only new ones lead anywhere."""
    await _silence(hit, 0, new=False, old=False)


@fault("packets dropped for 20 s", Concern.DATABASE, needs=(Need.ROOT, Need.IPTABLES), seconds=20)
@fault("packets dropped for 5 s", Concern.DATABASE, needs=(Need.ROOT, Need.IPTABLES), seconds=5)
async def dropped(hit: Hit) -> None:
    """In both directions, by the kernel."""
    with packets_dropped([server.proxy.port for server in hit.site.servers]):
        await asyncio.sleep(hit.seconds)


@asynccontextmanager
async def _locked(hit: Hit, statement: str, *parameters: str) -> AsyncIterator[None]:
    async with await psycopg.AsyncConnection.connect(hit.site.url) as connection:
        await connection.execute(statement.encode(), parameters or None)
        yield
        await connection.rollback()


@fault("a room locked for 6 s", Concern.ROOM, UNNOTICED, seconds=6, short=True)
async def room_locked(hit: Hit) -> None:
    """SELECT ... FOR UPDATE."""
    async with _locked(hit, "SELECT FROM rooms WHERE room_name = %s FOR UPDATE", hit.room):
        await asyncio.sleep(6)


@fault("statements time out for 8 s", Concern.DATABASE, seconds=8)
@fault("a table locked for 2 s", Concern.DATABASE, seconds=2)
async def table_locked(hit: Hit) -> None:
    """A statement may take more than 2 s: what was sent is stored when the lock goes. It may not take 8 s."""
    async with _locked(hit, "LOCK TABLE messages IN ACCESS EXCLUSIVE MODE"):
        await asyncio.sleep(hit.seconds)


@fault("a standby promoted, old connections open", Concern.DATABASE, place=SiteKind.STANDBY, seconds=2, spends=True)
async def promoted(hit: Hit) -> None:
    """Synchronous replication; the old primary turns read-only and keeps its connections."""
    await hit.site.promote()


@fault("the row of profiles_version locked for 5 s", Concern.ROOM, UNNOTICED, seconds=5)
async def profiles_version_locked(hit: Hit) -> None:
    """Whoever changes a profile waits."""
    async with _locked(hit, "SELECT FROM profiles_version FOR UPDATE"):
        await asyncio.sleep(5)


@fault("read-only for 3 s", Concern.DATABASE, seconds=3)
async def read_only(hit: Hit) -> None:
    """As a failover leaves the old primary: existing connections turn read-only."""
    await _set(hit, "ALTER SYSTEM SET default_transaction_read_only = on")
    await asyncio.sleep(3)
    await _set(hit, "ALTER SYSTEM RESET default_transaction_read_only")


async def _set(hit: Hit, statement: str) -> None:
    await hit.site.sql(statement)
    await hit.site.sql("SELECT pg_reload_conf()")


@fault("connection slots used up for 5 s", Concern.DATABASE, "The servers' own connections suffice.", seconds=5)
async def slots(hit: Hit) -> None:
    """Others take what is left, then the servers lose one connection each way."""
    taken: list[psycopg.AsyncConnection[tuple[object, ...]]] = []
    try:
        while True:
            taken.append(await psycopg.AsyncConnection.connect(hit.site.url))
    except psycopg.OperationalError:
        await asyncio.sleep(5)
    finally:
        for connection in taken:
            await connection.close()


@fault("unique indexes rebuilt", Concern.DATABASE, "Nobody notices.", seconds=2)
async def reindexed(hit: Hit) -> None:
    """REINDEX INDEX CONCURRENTLY of each unique index of the messages."""
    for (name,) in await hit.site.sql(_UNIQUE):
        await hit.site.sql(f"REINDEX INDEX CONCURRENTLY {name}")


@fault("a column added and dropped", Concern.DATABASE, "Nobody notices.", seconds=1)
async def column(hit: Hit) -> None:
    """Prepared statements must survive it."""
    await hit.site.sql("ALTER TABLE messages ADD COLUMN fault_probe int")
    await asyncio.sleep(0.5)
    await hit.site.sql("ALTER TABLE messages DROP COLUMN fault_probe")


@fault("disk full for 3 s", Concern.DATABASE, needs=(Need.ROOT,), place=SiteKind.SMALL_DISK, seconds=4)
async def disk_full(hit: Hit) -> None:
    """A file takes what is left, and goes; PostgreSQL may have ended itself, and is then started again."""
    assert hit.site.disk is not None
    ballast = hit.site.disk / "ballast"
    await asyncio.to_thread(_fill, ballast)
    await asyncio.sleep(3)
    ballast.unlink()
    await hit.site.start_database()


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1024 * 1024))


@fault("an account locked for 5 s", Concern.CLIENT, UNNOTICED, seconds=5)
async def account_locked(hit: Hit) -> None:
    """Its owner tries to send meanwhile."""
    server = hit.rng.choice(hit.site.servers)
    account = await asyncio.to_thread(register, server.address())
    socket = await connected(server.address())
    await socket.call("join", {"room": f"own {account['user']['userId']}", "token": account["token"]})
    async with _locked(hit, "SELECT FROM users WHERE user_id::text = %s FOR UPDATE", account["user"]["userId"]):
        for number in range(10):
            socket.emit("send-message", {"message": f"number {number}"})
        await asyncio.sleep(5)
    socket.abort()
