"""``chatsys shadow``: the original serves the clients, the second server follows, and differences are found."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.standin import Fault, Reply, standing_in

from .clients import WAIT, Client, http_client, register
from .conftest import running_server
from .serving import clean_environment

SECRET = {"JWT_SECRET": "the same at both servers, 32 characters"}


class Shadow:
    """The running command: its address, and finally its output."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def end(self) -> tuple[int, str]:
        """Press Ctrl-C; return the exit status and the output."""
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=WAIT)
        return self.process.returncode, said


@contextmanager
def shadowing(original: str, candidate: str) -> Iterator[Shadow]:
    """Run ``chatsys shadow`` on a free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "chatsys", "shadow", original, candidate, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment(NO_COLOR="1", COLUMNS="200"),
    )
    watchdog = threading.Timer(WAIT, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"Listening on (http://\S+): ", line)
        assert found, line
        watchdog.cancel()
        yield Shadow(process, found[1])
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def two_servers(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Servers on two empty stores in memory."""
    with running_server("memory://", tmp_path, **SECRET) as one, running_server("memory://", tmp_path, **SECRET) as two:
        yield one.url, two.url


async def conversation(url: str) -> None:
    """Two people register, talk, read and search; at a second server each id differs."""
    ann, ben = await register(url), await register(url)
    async with Client(url, ["websocket"]) as first, Client(url, ["polling"]) as second:
        await first.join("tea", token=ann["token"])
        await second.join("tea", token=ben["token"])
        sent = [await first.send(f"text {number}", clientMessageId=f"{number}") for number in range(5)]
        await second.want("receive-message", 5)
        assert second.texts() == [f"text {number}" for number in range(5)]
        for each in sent:
            await second.emit("message-read", {"messageId": each["id"], "room": "tea"})
        await first.want("message-read-update", 5)
        await second.call("typing", True)
        await first.want("user-typing")
        async with http_client(url) as http:
            for path in ("/api/rooms/tea/messages", f"/api/users/{ann['user']['userId']}", "/api/rooms", "/api/health"):
                assert (await http.get(path)).status_code == 200
            headers = {"Authorization": f"Bearer {ann['token']}"}
            changed = {"displayName": "Another Ann"}
            answer = await http.put(f"/api/users/{ann['user']['userId']}", json=changed, headers=headers)
            assert answer.status_code == 200, answer.text
            assert (await http.get("/api/users/nobody-has-this-id")).status_code in {400, 404}


async def test_shadow_of_two_equal_servers_finds_no_difference(two_servers: tuple[str, str]) -> None:
    with shadowing(*two_servers) as shadow:
        await conversation(shadow.url)
        status, said = await asyncio.to_thread(shadow.end)
    assert (status, "No difference in " in said) == (0, True), said
    for what in ("POST /api/auth/register", "GET /api/users/:name", "GET /api/rooms/:name/messages", "answer to join",
                 "event receive-message", "event message-read-update", "event user-typing"):  # fmt: skip
        assert what in said
    assert "/api/health" not in said
    assert "Traceback" not in said


@asynccontextmanager
async def broken(url: str, fault: Fault) -> AsyncIterator[str]:
    async with standing_in(url, fault) as stand_in:
        yield stand_in.url


def _shout(_memory: Any, name: str, arguments: list[Any]) -> list[tuple[str, list[Any]]]:
    if name == "receive-message":
        arguments = [arguments[0] | {"message": arguments[0]["message"].upper()}]
    return [(name, arguments)]


def _anonymous(reply: Reply) -> None:
    if reply.method == "GET" and "/api/users/" in reply.path and reply.status == 200:
        reply.body = {**reply.body, "user": {**reply.body["user"], "displayName": "Somebody"}}


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (Fault(event=_shout), ("event receive-message, [].message: 10 times", '"text 0"', '"TEXT 0"')),
        (Fault(http=_anonymous), ("GET /api/users/:name, user.displayName: once", '"Somebody"')),
    ],
    ids=["event", "answer"],
)
async def test_shadow_finds_what_the_second_server_answers_differently(
    two_servers: tuple[str, str], fault: Fault, found: tuple[str, ...]
) -> None:
    async with broken(two_servers[1], fault) as candidate:
        with shadowing(two_servers[0], candidate) as shadow:
            await conversation(shadow.url)
            status, said = await asyncio.to_thread(shadow.end)
    assert status == 1, said
    for words in found:
        assert words in said


async def test_shadow_without_its_second_server_delays_nobody(two_servers: tuple[str, str]) -> None:
    with shadowing(two_servers[0], "http://127.0.0.1:1") as shadow:
        async with asyncio.timeout(WAIT):
            await conversation(shadow.url)
        status, said = await asyncio.to_thread(shadow.end)
    assert status == 1
    assert "the call" in said
    assert "Traceback" not in said


async def test_shadow_without_its_original_answers_the_client_with_an_error(two_servers: tuple[str, str]) -> None:
    with shadowing("http://127.0.0.1:1", two_servers[1]) as shadow:
        async with http_client(shadow.url) as http:
            answer = await http.get("/api/rooms")
        assert answer.status_code == 502
        assert "The original did not answer" in answer.json()["message"]
        async with Client(shadow.url, ["websocket"]) as client:
            async with asyncio.timeout(WAIT):
                await client.lost.wait()
        await asyncio.to_thread(shadow.end)
