"""Faults of the database and of the connections to it: outages, locks, failovers, full resources, schema changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psycopg

from chatsys.client.asynchronous import connected
from chatsys.lab.faults.fault import UNNOTICED, Concern, Context, Need, fault
from chatsys.lab.faults.lost import register
from chatsys.lab.faults.site import SiteKind
from chatsys.lab.network.packets import packets_dropped

_OTHERS = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
_UNIQUE = "SELECT indexrelid::regclass::text FROM pg_index WHERE indisunique AND indrelid = 'messages'::regclass"


@fault("all connections terminated by PostgreSQL", Concern.DATABASE, short=True)
async def terminated(context: Context) -> None:
    """Call pg_terminate_backend for each connection."""
    await context.site.sql(f"SELECT pg_terminate_backend(pid) {_OTHERS}")


@fault("all connections to the database reset", Concern.DATABASE, short=True)
async def reset(context: Context) -> None:
    """Reset the TCP connections; new ones are accepted."""
    for server in context.site.servers:
        server.proxy.reset()


async def _cut(context: Context, servers: int) -> None:
    chosen = context.rng.sample(context.site.servers, servers)
    for server in chosen:
        server.proxy.cut()
    await asyncio.sleep(context.seconds)
    for server in chosen:
        await server.proxy.listen()


@fault("every server cut from the database for 8 s", Concern.DATABASE, "Nobody is disconnected.", seconds=8)
@fault("every server cut from the database for 1 s", Concern.DATABASE, "Nobody is disconnected.", short=True)
async def cut_all(context: Context) -> None:
    """Reset connections and refuse new ones; 8 s are longer than a lease."""
    await _cut(context, len(context.site.servers))


@fault("one server cut from the database for 1 s", Concern.SERVER, "Nobody is disconnected.")
async def cut_one(context: Context) -> None:
    """Reset connections and refuse new ones."""
    await _cut(context, 1)


async def _silence(context: Context, seconds: float, *, new: bool, old: bool) -> None:
    for server in context.site.servers:
        server.proxy.hush(new=new)
    await asyncio.sleep(seconds)
    for server in context.site.servers:
        server.proxy.heal(old=old)


@fault("black hole for 40 s", Concern.DATABASE, seconds=40)
@fault("black hole for 8 s", Concern.DATABASE, seconds=8)
async def black_hole(context: Context) -> None:
    """Discard all data, which TCP still acknowledges; it stays lost."""
    await _silence(context, context.seconds, new=True, old=True)


@fault("old connections silent for ever", Concern.DATABASE, seconds=1)
async def old_connections(context: Context) -> None:
    """Discard the data of existing connections, as a failover that leaves them open does; new ones work."""
    await _silence(context, 0, new=False, old=False)


@fault("packets dropped for 20 s", Concern.DATABASE, needs=(Need.ROOT, Need.IPTABLES), seconds=20)
@fault("packets dropped for 5 s", Concern.DATABASE, needs=(Need.ROOT, Need.IPTABLES), seconds=5)
async def dropped(context: Context) -> None:
    """Make the kernel drop packets in both directions."""
    with packets_dropped([server.proxy.port for server in context.site.servers]):
        await asyncio.sleep(context.seconds)


@asynccontextmanager
async def _locked(context: Context, statement: str, *parameters: str) -> AsyncIterator[None]:
    async with await psycopg.AsyncConnection.connect(context.site.url) as connection:
        await connection.execute(statement.encode(), parameters or None)
        yield
        await connection.rollback()


@fault("a room locked for 6 s", Concern.ROOM, UNNOTICED, seconds=6, short=True)
async def room_locked(context: Context) -> None:
    """Lock the row with SELECT ... FOR UPDATE."""
    async with _locked(context, "SELECT FROM rooms WHERE room_name = %s FOR UPDATE", context.room):
        await asyncio.sleep(6)


@fault("statements time out for 8 s", Concern.DATABASE, seconds=8)
@fault("a table locked for 2 s", Concern.DATABASE, seconds=2)
async def table_locked(context: Context) -> None:
    """Lock the messages. A lock of 2 s only delays the statements; with one of 8 s they time out."""
    async with _locked(context, "LOCK TABLE messages IN ACCESS EXCLUSIVE MODE"):
        await asyncio.sleep(context.seconds)


@fault(
    "a standby promoted, old connections open",
    Concern.DATABASE,
    site_kind=SiteKind.STANDBY,
    seconds=2,
    spoils_site=True,
)
async def promoted(context: Context) -> None:
    """Promote a synchronous standby. The old primary turns read-only and keeps its connections."""
    await context.site.promote()


@fault("the row of profiles_version locked for 5 s", Concern.ROOM, UNNOTICED, seconds=5)
async def profiles_version_locked(context: Context) -> None:
    """Lock the row that every change of a profile needs."""
    async with _locked(context, "SELECT FROM profiles_version FOR UPDATE"):
        await asyncio.sleep(5)


@fault("read-only for 3 s", Concern.DATABASE, seconds=3)
async def read_only(context: Context) -> None:
    """Make existing connections read-only, as those to the old primary are after a failover."""
    await _set(context, "ALTER SYSTEM SET default_transaction_read_only = on")
    await asyncio.sleep(3)
    await _set(context, "ALTER SYSTEM RESET default_transaction_read_only")


async def _set(context: Context, statement: str) -> None:
    await context.site.sql(statement)
    await context.site.sql("SELECT pg_reload_conf()")


@fault("connection slots used up for 5 s", Concern.DATABASE, "The servers' existing connections suffice.", seconds=5)
async def slots(context: Context) -> None:
    """Open connections until PostgreSQL refuses more."""
    taken: list[psycopg.AsyncConnection[tuple[object, ...]]] = []
    try:
        while True:
            taken.append(await psycopg.AsyncConnection.connect(context.site.url))
    except psycopg.OperationalError:
        await asyncio.sleep(5)
    finally:
        for connection in taken:
            await connection.close()


@fault("unique indexes rebuilt", Concern.DATABASE, "Nobody notices.", seconds=2)
async def reindexed(context: Context) -> None:
    """Run REINDEX INDEX CONCURRENTLY on each unique index of the messages."""
    for (name,) in await context.site.sql(_UNIQUE):
        await context.site.sql(f"REINDEX INDEX CONCURRENTLY {name}")


@fault("a column added and dropped", Concern.DATABASE, "Nobody notices.", seconds=1)
async def column(context: Context) -> None:
    """Change the table; prepared statements must survive that."""
    await context.site.sql("ALTER TABLE messages ADD COLUMN fault_probe int")
    await asyncio.sleep(0.5)
    await context.site.sql("ALTER TABLE messages DROP COLUMN fault_probe")


@fault("disk full for 3 s", Concern.DATABASE, needs=(Need.ROOT,), site_kind=SiteKind.SMALL_DISK, seconds=4)
async def disk_full(context: Context) -> None:
    """Fill the disk with a file and delete it. Then start PostgreSQL again if it has shut down."""
    assert context.site.disk is not None
    ballast = context.site.disk / "ballast"
    await asyncio.to_thread(_fill, ballast)
    await asyncio.sleep(3)
    ballast.unlink()
    await context.site.start_database()


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1024 * 1024))


@fault("an account locked for 5 s", Concern.CLIENT, UNNOTICED, seconds=5)
async def account_locked(context: Context) -> None:
    """Lock the row of an account while its owner sends messages."""
    server = context.random_server()
    account = await asyncio.to_thread(register, server.address())
    socket = await connected(server.address())
    await socket.call("join", {"room": f"own {account['user']['userId']}", "token": account["token"]})
    async with _locked(context, "SELECT FROM users WHERE user_id::text = %s FOR UPDATE", account["user"]["userId"]):
        for number in range(10):
            socket.emit("send-message", {"message": f"number {number}"})
        await asyncio.sleep(5)
    socket.abort()
