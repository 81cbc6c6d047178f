"""A standby takes over while connections to the old primary stay open: every client moves to the new one."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from chatsys.database import admin
from chatsys.database.connecting import connected
from chatsys.database.embedded import embedded_server
from chatsys.errors import BadDatabaseUrl, StoreError
from chatsys.store.address import read_url
from tests.conftest import free_port, system_programs
from tests.proxies import proxied, socket_of
from tests.store.conftest import Hands

LOCALE = ("--locale=C.UTF-8",)
MOVED = 5.0
"""The promised time in seconds."""


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, str]]:
    """The URLs of a primary and its streaming standby, on the system's PostgreSQL."""
    ports = [free_port(), free_port()]
    settings = {"listen_addresses": "127.0.0.1", "fsync": "off", "wal_level": "replica"}
    programs = system_programs()
    with embedded_server(
        folder / "old", programs=programs, locale=LOCALE, settings={**settings, "port": str(ports[0])}
    ) as old:
        admin.upgrade(old)
        data = folder / "old" / "data"
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("local replication all trust\n")
        with psycopg.connect(old, autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")
        copy = folder / "new" / "data"
        copy.parent.mkdir()
        owner = data.stat()
        command = [programs / "pg_basebackup", "-D", copy, "-R", "-X", "stream", "-c", "fast", "-U", "chatsys"]
        command += ["-h", Path(socket_of(old)).parent, "-p", str(ports[0])]
        subprocess.run(command, check=True, cwd="/")
        for each in (copy, *copy.rglob("*")):
            os.chown(each, owner.st_uid, owner.st_gid)
        conf = (copy / "postgresql.auto.conf").read_text()
        assert "primary_conninfo" in conf
        with embedded_server(
            folder / "new", programs=programs, locale=LOCALE, settings={**settings, "port": str(ports[1])}
        ) as new:
            yield old, new
    shutil.rmtree(copy)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.mark.process
async def test_sends_and_reads_move_to_the_new_primary(server_folder: Path, hands: Hands) -> None:
    with cluster(server_folder) as (old, new):
        async with proxied(old) as (proxy, url), hands.opened(url) as store:
            who = hands.guest()
            await store.post_message(hands.new_message(who))
            await asyncio.gather(*(store.history("tea", 10) for _ in range(6)))
            with psycopg.connect(old, autocommit=True) as primary, psycopg.connect(new, autocommit=True) as standby:
                while standby.execute("SELECT count(*) FROM messages").fetchone() != (1,):
                    time.sleep(0.02)
                primary.execute("ALTER SYSTEM SET default_transaction_read_only = on")
                primary.execute("SELECT pg_reload_conf()")
                standby.execute("SELECT pg_promote()")
            proxy.target = socket_of(new)
            began = time.monotonic()
            while True:
                try:
                    posted = await store.post_message(hands.new_message(who, text="after"))
                    break
                except StoreError:
                    assert time.monotonic() - began < MOVED
            assert posted.message.seq == 2
            for _ in range(30):
                assert [message.text for message in await store.history("tea", 10)] == ["hello", "after"]


@pytest.mark.process
async def test_url_with_several_hosts_uses_the_writable_one(server_folder: Path, hands: Hands) -> None:
    with cluster(server_folder) as (old, new):
        async with proxied(old) as (first, url), proxied(new) as (second, _):
            both = url.replace(f":{first.port}/", f":{second.port},127.0.0.1:{first.port}/")
            async with hands.opened(both) as store:
                await store.post_message(hands.new_message(hands.guest()))
                with psycopg.connect(old) as primary:
                    assert primary.execute("SELECT count(*) FROM messages").fetchone() == (1,)
            assert await asyncio.to_thread(recovers, both) == (False,), "the command line's driver finds it too"


def recovers(url: str) -> tuple[object, ...] | None:
    with connected(url) as connection:
        return connection.execute("SELECT pg_is_in_recovery()").fetchone()


def test_url_that_requests_a_standby_is_refused() -> None:
    with pytest.raises(BadDatabaseUrl, match="accepts writes"):
        read_url("postgresql://ann@one,two/chat?target_session_attrs=standby")
