"""Every failure of a database has its own error and a remedy; each is provoked on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from chatsys import errors
from chatsys.database import admin
from chatsys.database.connecting import connected
from chatsys.database.opening import open_prepared_store
from chatsys.errors import StoreError, StoreUnavailable
from chatsys.store.address import read_url, with_database
from chatsys.store.opening import open_store
from chatsys.store.options import StoreOptions
from chatsys.store.postgres.mapping import CONSTRAINTS, SQLSTATES, translated
from tests.conftest import free_port

NOWHERE = "00000000-0000-4000-8000-000000000000"


async def refusal(url: str, opener: Any = open_prepared_store, **options: object) -> StoreError:
    """Return the error that opening a store at ``url`` raises."""
    with pytest.raises(StoreError) as refused:
        async with opener(url, StoreOptions(pool_size=5, **options)):
            pass
    assert refused.value.hint, "it says what to do"
    assert "secret" not in refused.value.message + refused.value.hint
    return refused.value


@contextmanager
def role(url: str, options: str = "") -> Iterator[str]:
    """The URL of ``url``'s database for a new role without its own rights."""
    name = f"role_{abs(hash(url)) % 10**12}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret' {options}")
        try:
            yield url.replace("//chatsys@", f"//{name}:secret@")
        finally:
            connection.execute(f"DROP OWNED BY {name}")
            connection.execute(f"DROP ROLE {name}")


@pytest.mark.process
async def test_unreachable_server_has_its_own_error(unused_tcp_port):
    assert type(await refusal(f"postgresql://u:secret@127.0.0.1:{unused_tcp_port}/db")) is errors.ConnectionRefused


@pytest.mark.process
async def test_missing_socket_has_its_own_error(server_folder):
    assert type(await refusal(f"postgresql://u@/db?host={server_folder}")) is errors.ConnectionRefused


@pytest.mark.process
async def test_unknown_host_has_its_own_error():
    assert type(await refusal("postgresql://u:secret@no-such-host.invalid/db")) is errors.HostNotFound


async def test_unknown_database_has_its_own_error(postgres_url):
    missing = await refusal(with_database(postgres_url, "no such database"))
    assert type(missing) is errors.DatabaseMissing
    assert "chatsys db init" in missing.hint


async def test_unknown_role_has_its_own_error(postgres_url):
    refused = await refusal(postgres_url.replace("//chatsys@", "//nobody:secret@"))
    assert type(refused) is errors.AuthenticationFailed


@pytest.mark.process
async def test_wrong_password_has_its_own_error(password_server):
    assert type(await refusal(password_server.replace("right", "secret"))) is errors.AuthenticationFailed
    async with open_prepared_store(password_server) as store:
        assert (await store.ping()).kind == "postgresql"


@pytest.mark.process
async def test_missing_tls_has_its_own_error(password_server):
    assert type(await refusal(password_server + "?sslmode=require")) is errors.TlsFailed
    assert type(await refusal(password_server, ssl=True)) is errors.TlsFailed


async def test_missing_right_to_create_in_the_schema_has_its_own_error(empty_postgres_url):
    with role(empty_postgres_url) as url:
        refused = await refusal(url)
        assert isinstance(refused, errors.PermissionDenied | errors.ExtensionNotAllowed)


async def test_missing_right_to_create_the_extension_has_its_own_error(empty_postgres_url):
    with role(empty_postgres_url) as url:
        with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
            connection.execute("GRANT ALL ON SCHEMA public TO PUBLIC")
        refused = await refusal(url)
        assert type(refused) is errors.ExtensionNotAllowed
        assert "CREATE EXTENSION pg_trgm" in refused.hint


async def test_missing_right_on_the_tables_has_its_own_error(postgres_url):
    with role(postgres_url) as url:
        assert type(await refusal(url)) is errors.PermissionDenied


async def test_lack_of_free_connections_has_its_own_error(postgres_url):
    with role(postgres_url, "CONNECTION LIMIT 0") as url:
        assert type(await refusal(url)) is errors.TooManyConnections


async def test_read_only_database_has_its_own_error(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert type(await refusal(postgres_url)) is errors.ReadOnlyDatabase


async def test_missing_older_newer_and_foreign_schemas_have_their_own_errors(empty_postgres_url):
    assert type(await refusal(empty_postgres_url, open_store)) is errors.SchemaMissing
    admin.upgrade(empty_postgres_url)
    for version, expected in (("0001", errors.SchemaOutdated), ("9999", errors.SchemaTooNew)):
        with psycopg.connect(empty_postgres_url) as connection:
            connection.execute("UPDATE alembic_version SET version_num = %s", (version,))
        refused = await refusal(empty_postgres_url, open_store)
        assert type(refused) is expected
    with psycopg.connect(empty_postgres_url) as connection:
        connection.execute("DROP TABLE alembic_version")
    assert "did not make" in (await refusal(empty_postgres_url)).message


async def test_insufficient_encoding_has_its_own_error(postgres_server):
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C'")
        try:
            refused = await refusal(with_database(postgres_server.url, "latin"))
            assert type(refused) is errors.UnsupportedServer
        finally:
            connection.execute("DROP DATABASE latin WITH (FORCE)")


@pytest.mark.parametrize("state", sorted({*SQLSTATES, "40P01", "55P03", "08006", "53200", "XX000"}))
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_every_sqlstate_has_an_error_and_a_hint(pg, postgres_url, hands, state, driver):
    raising = f"BEGIN RAISE EXCEPTION 'provoked' USING ERRCODE = '{state}'; END"
    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"CREATE FUNCTION provoke() RETURNS trigger LANGUAGE plpgsql AS $$ {raising} $$")
        connection.execute("CREATE TRIGGER provoke BEFORE INSERT ON users EXECUTE FUNCTION provoke()")
    if driver == "asyncpg":
        with pytest.raises(StoreError) as met:
            await hands.account(pg)
    else:
        with pytest.raises(StoreError) as met, connected(postgres_url) as connection:
            connection.execute("INSERT INTO users (username) VALUES ('x')")
    expected = SQLSTATES[state][0] if state in SQLSTATES else None
    if expected is not None:
        assert type(met.value) is expected
    assert isinstance(met.value, StoreUnavailable) == (state[:2] in {"08", "40", "55"}) or expected or state == "53200"
    assert met.value.hint


def test_every_constraint_violation_becomes_an_error_of_chatsys(postgres_url):
    """Each constraint is broken by a row that breaks it before any other."""
    address = read_url(postgres_url)
    with psycopg.connect(postgres_url) as connection:
        names = {
            row[0]
            for row in connection.execute(
                "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'"
            )
        }
    assert set(CONSTRAINTS) <= names, "a mapped constraint exists"
    for name in sorted(names):
        with psycopg.connect(postgres_url) as connection:
            try:
                connection.execute(
                    "DO $$ BEGIN RAISE EXCEPTION 'broken' USING ERRCODE = '23505', CONSTRAINT = '" + name + "'; END $$"
                )
            except psycopg.Error as error:
                met = translated(error, address)
        assert type(met) is CONSTRAINTS.get(name, StoreError), name


@pytest.mark.parametrize("copy", ["_ccnew", "_ccold", "_ccnew1", "_ccnew_ccold2"])
def test_rebuilding_an_index_changes_no_answer(postgres_url, copy):
    def met(constraint: str) -> errors.ChatsysError:
        raising = f"BEGIN RAISE EXCEPTION 'broken' USING ERRCODE = '23505', CONSTRAINT = '{constraint}'; END"
        with psycopg.connect(postgres_url) as connection:
            try:
                connection.execute(f"DO $$ {raising} $$")
            except psycopg.Error as error:
                return translated(error, read_url(postgres_url))
        raise AssertionError

    assert type(met("users_email_key" + copy)) is errors.UserExists
    assert isinstance(met("messages_user_client_key" + copy), StoreUnavailable)


async def test_writes_continue_while_every_unique_index_is_rebuilt(pg, postgres_url, hands):
    ann = await hands.account(pg, "ann")

    async def write(number: int) -> None:
        for attempt in range(10):
            who = ann if number % 2 else hands.guest(f"g{number}")
            room, client_id = f"room{number}-{attempt % 3}", f"{number}-{attempt // 2}"
            await pg.open_session(hands.entry(who, room=room))
            message = (await pg.post_message(hands.new_message(who, room, client_id=client_id))).message
            await pg.mark_read(message.room, message.message_id, hands.guest(f"reader{attempt}"), hands.now())

    def rebuild() -> None:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class c ON c.oid = indrelid"
                " WHERE indisunique AND c.relnamespace = 'public'::regnamespace"
            )
            for (name,) in found.fetchall():
                connection.execute(f"REINDEX INDEX CONCURRENTLY {name}")

    await asyncio.gather(asyncio.to_thread(rebuild), *(write(number) for number in range(16)))


async def test_constraints_identify_taken_names_and_missing_accounts(pg, hands):
    await hands.account(pg, "ann")
    with pytest.raises(errors.UserExists):
        await hands.account(pg, "ann")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p#ss@host/db",
        "postgresql://u:p/ss@host/db",
        "postgresql://u@host:port/db",
        "postgresql://u@host:99999/db",
        "postgresql://u@host/db?sslmode=maybe",
        "mysql://u@host/db",
        "nonsense",
    ],
)
async def test_malformed_url_has_its_own_error(url):
    assert type(await refusal(url)) is errors.BadDatabaseUrl


@pytest.fixture
def unused_tcp_port() -> int:
    return free_port()
