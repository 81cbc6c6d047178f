"""A rolling update: a server of this version serves beside one whose bus messages have another version."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.brokers import nats_server, redis_server
from tests.conftest import free_port
from tests.flow.clients import WAIT, Client
from tests.flow.serving import Served

NEWER = "from chatsys.bus import messages; messages.VERSION = '2'; from chatsys.__main__ import main; main()"
COUNT = 30


@pytest.fixture(params=["notify", "redis", "nats"])
def servers(request: pytest.FixtureRequest, postgres_url: str, tmp_path: Path) -> Iterator[list[Served]]:
    """A server of this version and a newer one."""
    environ = {"DATABASE_URL": postgres_url, "PORT": "0"}
    with ExitStack() as stack:
        if request.param != "notify":
            port = free_port()
            broker = redis_server(port, tmp_path) if request.param == "redis" else nats_server(port)
            stack.callback(broker.stop, kill=True)
            environ["CHATSYS_BUS_URL"] = f"{request.param}://127.0.0.1:{port}"
        found = [Served(tmp_path, **environ), Served(tmp_path, program=("-c", NEWER), **environ)]
        for served in found:
            stack.callback(served.kill)
            assert served.url, served.stderr
        yield found


def seqs(client: Client) -> list[int]:
    return [message["seq"] for message in client.all("receive-message")]


async def test_servers_of_two_versions_serve_one_room(servers: list[Served]) -> None:
    async with Client(servers[0].url, ["websocket"]) as ann, Client(servers[1].url, ["websocket"]) as ben:
        await ann.join("r", name="Ann")
        await ben.join("r", name="Ben")
        for number in range(COUNT):
            await asyncio.gather(ann.send(f"a{number}"), ben.send(f"b{number}"))
        for client in (ann, ben):
            await client.want("receive-message", 2 * COUNT)
            assert seqs(client) == list(range(1, 2 * COUNT + 1))
        await ben.call("leave-room")
        async with asyncio.timeout(WAIT):
            while [user["username"] for user in ann.all("room-users")[-1]] != ["Ann"]:
                await asyncio.sleep(0.02)
    assert [served.stop() for served in servers] == [0, 0]
    assert "is unavailable" not in servers[0].stderr + servers[1].stderr
