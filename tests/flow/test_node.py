"""The official JavaScript client, which browsers use, talks to the server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from .clients import WAIT
from .conftest import Server

NODE = Path(__file__).parent / "node"


async def talk(url: str, room: str, transports: str) -> dict[str, Any]:
    assert (NODE / "node_modules").is_dir(), "install the JavaScript client: npm ci --prefix tests/flow/node"
    process = await asyncio.create_subprocess_exec(
        "node",
        "talk.js",
        url,
        room,
        transports,
        cwd=NODE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), 4 * WAIT)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return dict(json.loads(out))


@pytest.mark.parametrize("transports", ["polling", "websocket", "polling,websocket"])
async def test_javascript_client_joins_and_talks(server: Server, room: str, transports: str) -> None:
    report = await talk(server.url, room, transports)
    texts = [f"message {number}" for number in range(30)]
    assert report["joined"]["success"] is True
    assert report["transport"] == transports.rsplit(",", maxsplit=1)[-1]
    assert [answer["seq"] for answer in report["answers"]] == list(range(1, 31))
    for username in ("Ann", "Ben"):
        diary = [entry for entry in report["seen"] if entry["username"] == username]
        assert [entry["payload"]["message"] for entry in diary if entry["name"] == "receive-message"] == texts
    assert report["refused"]["code"] == "validation_failed"
    names = {(entry["username"], entry["name"]) for entry in report["seen"]}
    assert {("Ann", "user-joined"), ("Ann", "message-read-update"), ("Ann", "user-left"), ("Ben", "error")} <= names
