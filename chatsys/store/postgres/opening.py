"""Open a PostgresStore. It checks the server and the schema first, so that problems show before any client waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chatsys.errors import ReadOnlyDatabase, SchemaMissing, UnsupportedServer
from chatsys.store.address import Address, read_url
from chatsys.store.options import StoreOptions, Upgrade, shares
from chatsys.store.postgres.connections import Connections, Pools
from chatsys.store.postgres.links import Connector
from chatsys.store.postgres.store import PostgresStore
from chatsys.store.schema import check_version, expected_version, known_versions

OLDEST_SERVER = 140_000

LOCK_TIMEOUTS = {
    "sends": "100ms",  # a message or receipt whose room is locked for longer than this waits apart from the others
    "locked": "500ms",  # writes that wait apart share their connections: after this time, one lets the next one wait
    "housekeeping": "250ms",
    "reads": "2s",  # some of the other verbs write, too; one that waits for longer than this fails
}
"""How long a statement waits for a lock, by the share of connections (``Shares``)."""


@asynccontextmanager
async def open_postgres(
    url: str, options: StoreOptions, upgrade: Upgrade | None = None
) -> AsyncIterator[PostgresStore]:
    """A store on the server at ``url``. ``upgrade`` is called in a thread if the schema is missing or older.

    Raises the StoreError that says why the database can't be used.
    """
    share = shares(options.pool_size)
    pools = pools_to(url, options)
    try:
        of = {name: pools.pool(getattr(share, name), lock_timeout=limit) for name, limit in LOCK_TIMEOUTS.items()}
        store = PostgresStore(pools, **of, lease=options.lease, write_queue=options.write_queue)
        version = await _inspect(of["reads"])
        if upgrade is not None and version in (None, *known_versions()) and version != expected_version():
            await asyncio.to_thread(upgrade, url, options)
        else:
            check_version(version, pools.address.database)
        await pools.warm()
        pools.outages.watching = True
        try:
            yield store
        finally:
            await store._end()
    finally:
        await pools.close()


def pools_to(url: str, options: StoreOptions) -> Pools:
    """Pools of connections to the server at ``url``. No connection is open yet."""
    address = read_url(url, ssl=options.ssl, ca_file=options.ssl_ca_file)
    settings = {
        "application_name": "chatsys",
        "statement_timeout": str(round(options.statement_timeout * 1000)),
        "synchronous_commit": options.synchronous_commit,
        "jit": "off",
        "enable_seqscan": "off",  # plans are kept, and often made while a table is still small
        # With these, PostgreSQL frees the slot of a lost connection within 11 s. By default it takes two hours, and a
        # few network outages use up ``max_connections``.
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "11000",
    }
    connector = Connector(address, settings, options.connect_timeout)
    return Pools(connector, statement=options.statement_timeout, observe=options.observe)


async def _inspect(connections: Connections) -> str | None:
    """The schema's version, or None if there is no schema. Raises the StoreError that says why it can't be used."""
    (found,) = await connections.fetch("inspect_server")
    _check_server(found, connections.address)
    versions = await connections.fetch("schema_version") if found["has_version"] else []
    version = versions[0][0] if versions else None
    if version is None and found["has_users"]:
        raise SchemaMissing(
            f"The database {connections.address.database} has tables that chatsys did not make.",
            hint="If they are the original backend's, `chatsys db init` takes them over.",
        )
    return version


def _check_server(found: Any, address: Address) -> None:
    if found["version_number"] < OLDEST_SERVER:
        raise UnsupportedServer(f"PostgreSQL {found['version']} is too old.", hint="chatsys needs PostgreSQL 14 to 18.")
    if found["encoding"] != "UTF8":
        raise UnsupportedServer(
            f"The database {address.database} has the encoding {found['encoding']}; chatsys needs UTF8.",
            hint="Create it anew: CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8'.",
        )
    if found["standby"] or found["read_only"]:
        raise ReadOnlyDatabase(
            f"The database on {address.host} is {'a standby' if found['standby'] else 'read-only'}.",
            hint="Point DATABASE_URL at the primary server.",
        )
