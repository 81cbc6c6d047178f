"""A real server as a child process, once for each store, and clients that keep a diary of what they receive.

Tests of one store share one server, so each uses its own rooms and names: the ``room`` fixture, :func:`fresh`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from .clients import Client, register
from .serving import Served, reported_url

STORES = ("memory", "postgresql")


class Server:
    """A running ``chatsys serve``."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    @property
    def websocket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


@contextmanager
def running_server(database_url: str, folder: Path, **settings: str) -> Iterator[Server]:
    """Run a server as an operator would start it, with ``settings`` as environment variables."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("CHATSYS_", "DB_", "JWT_"))}
    environment = known | {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"} | settings
    command = [sys.executable, "-m", "chatsys", "serve", "--host", "127.0.0.1", "--port", "0"]
    log = folder / f"server-{uuid.uuid4().hex[:8]}.log"
    ready = log.with_suffix(".ready")
    with log.open("w+") as errors:
        process = subprocess.Popen(
            [*command, "--database-url", database_url, "--ready-file", str(ready)],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
        )
        try:
            url = reported_url(process, ready)
            assert url, f"the server did not start: {log.read_text()}"
            yield Server(process, url)
        finally:
            stop(process)


def stop(process: subprocess.Popen[str]) -> int:
    """Stop a server as an operator would; return its exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return process.returncode


@pytest.fixture(scope="session", params=STORES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on an empty store. All tests on that store share it."""
    folder = tmp_path_factory.mktemp(f"server-{request.param}")
    if request.param == "memory":
        with running_server("memory://", folder) as running:
            yield running
    else:
        with (
            request.getfixturevalue("postgres_server").database() as url,
            running_server(url, folder) as running,
        ):
            yield running


@pytest.fixture
def room() -> str:
    """A room that no other test uses."""
    return f"room-{uuid.uuid4().hex}"


Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def connect(server: Server) -> AsyncIterator[Connect]:
    """Connect clients of the official library, and disconnect them after the test."""
    async with AsyncExitStack() as stack:

        async def make(transports: list[str] | None = None, **joining: Any) -> Client:
            client = await stack.enter_async_context(Client(server.url, transports or ["websocket"]))
            if joining:
                await client.join(**joining)
            return client

        yield make


@pytest.fixture
def account(server: Server) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Register accounts; return the server's answer, with ``user`` and ``token``."""
    return lambda: register(server.url)


Serve = Callable[..., Served]
"""Starts a server for one test: ``serve(*arguments, **environ)``."""


@pytest.fixture(params=STORES)
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store for this test."""
    return "memory://" if request.param == "memory" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Serve]:
    """Start servers on free ports, whether they come up or not; stop them with the test."""
    servers: list[Served] = []

    def go(*arguments: str, **environ: str) -> Served:
        servers.append(Served(tmp_path, *arguments, **{"PORT": "0", **environ}))
        return servers[-1]

    yield go
    for served in servers:
        served.kill()


@pytest.fixture
def serve(start: Serve) -> Serve:
    """Start servers that must come up."""

    def go(*arguments: str, **environ: str) -> Served:
        served = start(*arguments, **environ)
        assert served.url, served.stderr
        return served

    return go
