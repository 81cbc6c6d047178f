"""A server that stops disconnects its clients at once, on any transport, and leaves no session behind (§12.3)."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import psycopg
import pytest

from .clients import WAIT, Client, get
from .conftest import running_server, stop


@pytest.mark.parametrize("transports", [["polling"], ["websocket"]], ids="+".join)
async def test_stop_with_connected_clients_is_clean(
    postgres_url: str, tmp_path: Path, room: str, transports: list[str]
) -> None:
    with running_server(postgres_url, tmp_path) as server:
        clients = [Client(server.url, transports) for _ in range(5)]
        for client in clients:
            await client.__aenter__()
            await client.join(room)
        assert await asyncio.to_thread(stop, server.process) == 0
        async with asyncio.timeout(WAIT):
            while any(client.sio.connected for client in clients):
                await asyncio.sleep(0.02)
        for client in clients:
            await client.__aexit__(None, None, None)
    (log,) = tmp_path.glob("server-*.log")
    assert "Traceback" not in log.read_text()
    with psycopg.connect(postgres_url) as database:
        for table in ("active_sessions", "chat_servers"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        held = database.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
            "WHERE locktype = 'advisory' AND datname = current_database()"
        ).fetchone()
        assert held == (0,)


def test_sigusr1_is_ignored_by_a_server_on_postgresql_which_says_why(postgres_url: str, tmp_path: Path) -> None:
    with running_server(postgres_url, tmp_path) as server:
        server.process.send_signal(signal.SIGUSR1)
        (log,) = tmp_path.glob("server-*.log")
        while "SIGUSR1 was ignored" not in log.read_text():
            assert server.process.poll() is None
        assert get(f"{server.url}/api/ready").status_code == 200
        assert stop(server.process) == 0


def login_of(number: int) -> bytes:
    body = f'{{"username":"nobody{number}","password":"wrong password"}}'.encode()
    head = (
        f"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    )
    return head.encode() + b"\r\n" + body


async def test_stop_with_pending_logins_and_partial_requests_is_quick_and_quiet(tmp_path: Path) -> None:
    with running_server("memory://", tmp_path, CHATSYS_LOGIN_ATTEMPTS="1000000") as server:
        host, _, port = server.url.removeprefix("http://").partition(":")
        requests = [login_of(number) for number in range(3000)]
        requests += [request[: len(request) - cut] for request in requests[:50] for cut in (5, 100)]
        writers = []
        for request in requests:
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(request)
            writers.append(writer)
        began = time.monotonic()
        assert await asyncio.to_thread(stop, server.process) == 0
        assert time.monotonic() - began < 10
        for writer in writers:
            writer.transport.abort()
    (log,) = tmp_path.glob("server-*.log")
    said = log.read_text()
    assert "Traceback" not in said
    assert "did not stop within" not in said
    assert len(said) < 1_000_000
