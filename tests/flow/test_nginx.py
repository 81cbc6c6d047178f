"""The proxy of docs/REALTIME.md in front of two servers: each client stays with one server, also with long-polling."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import free_port

from .clients import Client, get
from .conftest import Server, running_server

DOCUMENT = Path(__file__).parents[2] / "docs" / "REALTIME.md"
WAYS = (["polling"], ["polling", "websocket"], ["websocket"])


def configuration(folder: Path, port: int, servers: list[Server]) -> str:
    """Return the document's configuration on free ports, with nginx's own files in ``folder``."""
    shown = re.search(r"```nginx\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert shown is not None
    site = shown[1].replace("listen 80;", f"listen 127.0.0.1:{port};")
    for documented, server in zip((3001, 3002), servers, strict=True):
        site = site.replace(f"127.0.0.1:{documented};", f"127.0.0.1:{server.port};")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("fastcgi", "uwsgi", "scgi", "proxy"))
    return (
        f"daemon off;\nuser {pwd.getpwuid(os.getuid()).pw_name};\npid {folder}/pid;\nerror_log {folder}/errors;\n"
        f"events {{}}\nhttp {{\naccess_log off;\nclient_body_temp_path {folder}/body;\n{paths}{site}}}\n"
    )


@contextmanager
def nginx(folder: Path, servers: list[Server]) -> Iterator[str]:
    """The URL of the proxy."""
    port = free_port()
    (folder / "nginx.conf").write_text(configuration(folder, port, servers))
    process = subprocess.Popen(["nginx", "-p", folder, "-e", folder / "errors", "-c", folder / "nginx.conf"])
    try:
        while True:
            assert process.poll() is None, (folder / "errors").read_text()
            try:
                get(f"http://127.0.0.1:{port}/api/ready")
                break
            except httpx.ConnectError:
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def servers(postgres_url: str, tmp_path: Path) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(running_server(postgres_url, tmp_path, CHATSYS_FORWARDED_ALLOW_IPS="127.0.0.1"))
            for _ in range(2)
        ]


def connections(server: Server) -> int:
    page = get(f"{server.url}/metrics").text
    return int(float(re.findall(r"^chatsys_connections (\S+)$", page, re.MULTILINE)[0]))


async def test_clients_of_both_servers_chat_through_the_documented_proxy(
    servers: list[Server], tmp_path: Path, room: str
) -> None:
    async with AsyncExitStack() as stack:
        url = stack.enter_context(nginx(tmp_path, servers))
        clients = [Client(url, WAYS[number % 3], address=f"127.0.0.{number + 2}") for number in range(12)]
        for client in clients:
            await stack.enter_async_context(client)
            await client.join(room)
        assert sum(map(connections, servers)) == len(clients)
        assert all(map(connections, servers)), "the proxy used one server alone"
        sent = [(await client.send(str(number)))["seq"] for number, client in enumerate(clients)]
        assert sent == list(range(1, len(clients) + 1))
        for client in clients:
            await client.want("receive-message", len(sent))
            assert [message["seq"] for message in client.all("receive-message")] == sent
