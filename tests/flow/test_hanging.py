"""While the database hangs, every client is answered in time, and a server can be stopped (§12.3, §14.5, §14.6)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.proxies import proxied

from .clients import Client, http_client
from .conftest import running_server, stop

LIMIT = 5.0
"""The promised time in seconds, for the default limits; this server has smaller ones."""


async def test_hanging_database_is_reported_in_time_and_blocks_no_stop(
    postgres_url: str, tmp_path: Path, room: str
) -> None:
    limits = {"CHATSYS_STATEMENT_TIMEOUT": "1", "CHATSYS_CONNECT_TIMEOUT": "1.5"}
    async with proxied(postgres_url) as (proxy, url):
        running = running_server(url, tmp_path, **limits)
        server = await asyncio.to_thread(running.__enter__)
        try:
            async with Client(server.url, ["websocket"]) as sender, http_client(server.url) as http:
                await sender.join(room, name="Ann")
                await sender.send("before")
                proxy.hush(new=True)
                began = time.monotonic()
                waiting = [http.get(path) for path in ("/api/rooms", "/api/users", f"/api/rooms/{room}/messages")]
                refused = sender.call("send-message", {"message": "during", "clientMessageId": "c-1"})
                quick = [http.get(path) for path in ("/", "/api/health", "/metrics")]
                assert [answer.status_code for answer in await asyncio.gather(*quick)] == [200] * 3
                assert time.monotonic() - began < 1
                assert (await http.get("/api/ready")).status_code == 503
                assert time.monotonic() - began < 2
                for answer in await asyncio.gather(*waiting):
                    assert answer.status_code == 503
                    assert int(answer.headers["Retry-After"]) > 0
                assert (await refused)["code"] == "store_unavailable"
                assert time.monotonic() - began < LIMIT
                proxy.heal()
                began = time.monotonic()
                while not (await sender.call("send-message", {"message": "after", "clientMessageId": "c-2"}))[
                    "success"
                ]:
                    assert time.monotonic() - began < LIMIT
                while (await http.get("/api/ready")).status_code != 200:
                    assert time.monotonic() - began < LIMIT
                assert sender.texts() == ["before", "after"]
                proxy.hush(new=True)
                late = asyncio.gather(*(http.get("/api/rooms") for _ in range(20)), return_exceptions=True)
                began = time.monotonic()
                assert await asyncio.to_thread(stop, server.process) == 0
                assert time.monotonic() - began < 10
                await late
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)
    (log,) = tmp_path.glob("server-*.log")
    said = log.read_text()
    assert "Traceback" not in said
    over = said.count("The database works again")
    assert over <= 1, "it ends in time only for those who ask then"
    assert said.count("The database fails") == over + 1, "one line for each outage, and the last one goes on"
