"""A start without a usable bus names the cause and the remedy."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from chatsys.bus.contract import Line, OnMessage
from chatsys.bus.nats import NatsBroker
from chatsys.bus.opening import open_bus
from chatsys.bus.peers import BrokerBus
from chatsys.bus.redis import RedisBroker
from chatsys.errors import BusUnavailable
from chatsys.store.options import StoreOptions
from tests.brokers import nats_server, redis_server
from tests.conftest import free_port

from .conftest import CONNECT, KEY, PREFIX, Node, running, texts

OPTIONS = StoreOptions(connect_timeout=CONNECT, lease=1.5)


def bus(database_url: str, node: Node, workers: int = 1):
    return open_bus(None, database_url, OPTIONS, key=KEY, server=node.server, receiver=node, workers=workers)


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    process = redis_server(port, tmp_path)
    yield port
    process.stop(kill=True)


def acl(port: int, *rules: str) -> None:
    """Create the user "chat" of a Redis."""
    command = ["redis-cli", "-p", str(port), "ACL", "SETUSER", "chat", "reset", "on", ">secret", *rules]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "OK", done.stdout


@pytest.mark.process
async def test_start_succeeds_with_a_redis_user_that_has_the_rights(redis_port: int) -> None:
    acl(redis_port, "&chatsys.*", "+publish", "+subscribe", "+unsubscribe")
    url = f"redis://chat:secret@127.0.0.1:{redis_port}/0?socket_timeout=0.01"
    async with running(RedisBroker(url, PREFIX)) as one, running(RedisBroker(url, PREFIX)) as two:
        await one.enter("r")
        await two.enter("r")
        one.send("r", "hello", two)
        await two.until(lambda: texts(two) == ["hello"])
        assert two.gaps == []


@pytest.mark.process
@pytest.mark.parametrize(
    ("password", "rules", "hint"),
    [
        ("secret", ["resetchannels", "+@all"], "ACL SETUSER"),
        ("secret", ["&chatsys.*", "+subscribe"], "ACL SETUSER"),
        ("wrong", ["&*", "+@all"], "CHATSYS_BUS_URL"),
    ],
    ids=["no channels", "may not publish", "wrong password"],
)
async def test_start_names_the_right_that_a_redis_user_lacks(
    redis_port: int, password: str, rules: list[str], hint: str
) -> None:
    acl(redis_port, *rules)
    with pytest.raises(BusUnavailable) as caught:
        async with running(RedisBroker(f"redis://chat:{password}@127.0.0.1:{redis_port}", PREFIX)):
            pass
    assert hint in caught.value.hint
    assert "secret" not in caught.value.message


@pytest.mark.process
async def test_start_succeeds_with_user_and_password_of_nats() -> None:
    port = free_port()
    process = nats_server(port, "--user", "chat", "--pass", "secret")
    try:
        async with running(NatsBroker(f"nats://chat:secret@127.0.0.1:{port}", PREFIX)):
            pass
        with pytest.raises(BusUnavailable) as caught:
            async with running(NatsBroker(f"nats://chat:wrong@127.0.0.1:{port}", PREFIX)):
                pass
    finally:
        process.stop(kill=True)
    assert "CHATSYS_BUS_URL" in caught.value.hint


@pytest.mark.parametrize("url", ["nats://", "nats://h:x", "tls://h?ca=/no/such/file"])
async def test_start_refuses_an_unusable_nats_url(url: str) -> None:
    with pytest.raises(BusUnavailable, match="The URL of NATS"):
        async with running(NatsBroker(url, PREFIX)):
            pass


class Recorder:
    """A NATS server that answers pings and records the commands that it has processed."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.9.10","max_payload":1048576}\r\n')
        while line := await reader.readline():
            self.commands.append(line.split()[0] if line.strip() else b"")
            if self.commands[-1] == b"PING":
                writer.write(b"PONG\r\n")
        writer.close()


@pytest.mark.parametrize("command", [b"SUB", b"PUB"])
async def test_nats_line_waits_until_the_server_has_processed_a_command(command: bytes) -> None:
    port, recorder = free_port(), Recorder()
    async with await asyncio.start_server(recorder.serve, "127.0.0.1", port):
        line = await NatsBroker(f"nats://127.0.0.1:{port}", PREFIX).open(lambda channel, data: None, CONNECT)
        running = asyncio.create_task(line.run())
        if command == b"SUB":
            await line.subscribe(["x", "y"])
        else:
            await line.publish([("x", b"1"), ("y", b"2")])
        taken = [each for each in recorder.commands if each in (command, b"PING")]
        running.cancel()
        await line.close()
    assert taken.count(command) == 2
    assert taken[-1] == b"PING"


async def test_start_names_the_connection_limit_of_the_role(postgres_server, postgres_url: str) -> None:
    role = f"role_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")
        try:
            url = postgres_url.replace("//chatsys@", f"//{role}@")
            with psycopg.connect(url), pytest.raises(BusUnavailable) as caught:
                async with bus(url, Node()):
                    pass
        finally:
            admin.execute(f"DROP ROLE {role}")
    assert "CONNECTION LIMIT" in caught.value.hint


async def test_start_of_workers_behind_pgbouncer_is_refused(postgres_url: str) -> None:
    with pytest.raises(BusUnavailable) as caught:
        async with bus(f"{postgres_url}&pgbouncer=true", Node(), workers=2):
            pass
    assert "CHATSYS_BUS_URL" in caught.value.hint


async def test_start_of_one_server_behind_pgbouncer_warns(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    node = Node()
    async with bus(f"{postgres_url}&pgbouncer=true", node) as alone:
        assert alone.others("r", ["x"]) == ()
        assert not alone.deaf
    assert "CHATSYS_BUS_URL" in caplog.text


async def test_start_of_a_second_server_behind_pgbouncer_is_refused(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute(
            "INSERT INTO chat_servers (server_id, started_at, lease_until) "
            "VALUES (gen_random_uuid(), now(), now() + interval '1 min')"
        )
        async with bus(f"{postgres_url}&pgbouncer=true", Node()):
            pass  # it was killed, so it no longer renews its lease
        node = Node()

        async def renew() -> None:
            while True:
                other.execute("UPDATE chat_servers SET lease_until = lease_until + interval '1 s'")
                await asyncio.sleep(0.1)

        renewing = asyncio.create_task(renew())
        try:
            with pytest.raises(BusUnavailable) as caught:
                async with bus(f"{postgres_url}&pgbouncer=true", node):
                    pass
        finally:
            renewing.cancel()
    assert "CHATSYS_BUS_URL" in caught.value.hint


class FailingBroker(RedisBroker):
    """A broker whose connection fails on request."""

    def __init__(self) -> None:
        super().__init__("redis://127.0.0.1:1", PREFIX)
        self.fail = asyncio.Event()

    async def open(self, on_message: OnMessage, timeout: float) -> Line:
        await self.fail.wait()
        raise BusUnavailable("it does not answer")


async def test_bus_that_closes_while_its_connection_fails_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    broker = FailingBroker()
    bus = BrokerBus(broker, KEY, "a", Node(), lease=1.5, connect_timeout=CONNECT)
    life = asyncio.create_task(bus.live())
    await asyncio.sleep(0.01)
    broker.fail.set()
    life.cancel()
    await asyncio.wait([life])
    del bus, life
    gc.collect()
    assert caplog.records == []
