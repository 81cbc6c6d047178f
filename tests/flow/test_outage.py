"""While the database is unavailable nothing is announced that was not stored; afterwards all recovers (§14.5)."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest

from chatsys.database.embedded import embedded_server
from chatsys.lab.network.proxy import Proxy
from tests.proxies import proxied

from .clients import WAIT, Client, http_client
from .conftest import running_server

FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE 'could not extend file "base/16384/16401": No space left on device' USING ERRCODE = '53100';
END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON messages EXECUTE FUNCTION full_disk()
"""


async def test_server_recovers_when_the_database_returns(postgres_url: str, tmp_path: Path, room: str) -> None:
    async with proxied(postgres_url) as (proxy, url):
        await outage_and_recovery(proxy, url, tmp_path, room)


async def outage_and_recovery(proxy: Proxy, url: str, tmp_path: Path, room: str) -> None:
    server = await asyncio.to_thread((running := running_server(url, tmp_path, CHATSYS_LEASE="60")).__enter__)
    try:
        async with (
            Client(server.url, ["websocket"]) as sender,
            Client(server.url, ["websocket"]) as watcher,
            http_client(server.url) as http,
        ):
            await sender.join(room, name="Ann", userId="guest-ann")
            await watcher.join(room, name="Ben")
            leaver = Client(server.url, ["websocket"])
            await leaver.__aenter__()
            await leaver.join(room, name="Cleo")
            await sender.send("before")
            await watcher.want("receive-message")
            proxy.cut()
            message = {"message": "during", "clientMessageId": "c-1"}
            refused = await sender.call("send-message", message)
            assert (refused["success"], refused["code"]) == (False, "store_unavailable")
            assert (await sender.want("error"))["message"] == "Service temporarily unavailable"
            assert (await http.get("/api/ready")).status_code == 503
            await leaver.__aexit__(None, None, None)
            await watcher.emit("typing", True)
            await sender.want("user-typing")
            assert watcher.texts() == ["before"]
            await proxy.listen()
            async with asyncio.timeout(WAIT):
                while not (answer := await sender.call("send-message", message))["success"]:
                    await asyncio.sleep(0.1)
            assert answer["seq"] == 2
            await watcher.want("receive-message", 2)
            assert watcher.texts() == ["before", "during"]
            await watcher.want("user-left")
            async with asyncio.timeout(WAIT):
                while [user["username"] for user in watcher.all("room-users")[-1]] != ["Ann", "Ben"]:
                    await asyncio.sleep(0.02)
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


TAKEN = 28
"""The number of connections that PostgreSQL may have here."""


async def test_requests_are_answered_when_others_use_up_the_connection_slots(
    server_folder: Path, tmp_path: Path, room: str
) -> None:
    """The server keeps working with its open connections: none of sixty simultaneous requests is refused."""
    with embedded_server(server_folder, settings={"max_connections": str(TAKEN)}) as url, ExitStack() as stack:
        running = running_server(url, tmp_path)
        server = await asyncio.to_thread(running.__enter__)
        try:
            async with Client(server.url, ["websocket"]) as sender, http_client(server.url) as http:
                await sender.join(room, name="Ann")
                with suppress(psycopg.OperationalError):
                    while True:
                        stack.enter_context(psycopg.connect(url))
                paths = ["/api/users", "/api/rooms", f"/api/rooms/{room}/messages", f"/api/rooms/{room}/users"]
                requests = [http.get(f"{path}?limit={number}") for number in range(15) for path in paths]
                sent = [sender.call("send-message", {"message": f"{number}"}) for number in range(60)]
                assert {answer.status_code for answer in await asyncio.gather(*requests)} == {200}
                assert {answer["success"] for answer in await asyncio.gather(*sent)} == {True}
                assert (await http.get("/api/ready")).status_code == 200
                assert (await sender.call("join", {"room": f"{room}-2", "username": "Ann"}))["success"]
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)


async def test_read_only_database_is_reported_while_reads_continue(
    server_folder: Path, tmp_path: Path, room: str
) -> None:
    with embedded_server(server_folder) as url, psycopg.connect(url, autocommit=True) as admin:
        running = running_server(url, tmp_path)
        server = await asyncio.to_thread(running.__enter__)
        try:
            async with Client(server.url, ["websocket"]) as sender, http_client(server.url) as http:
                await sender.join(room, name="Ann")
                await sender.send("before")
                admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
                admin.execute("SELECT pg_reload_conf()")
                async with asyncio.timeout(WAIT):
                    while (answer := await sender.call("send-message", {"message": "during"}))["success"]:
                        await asyncio.sleep(0.02)
                assert (answer["code"], answer["message"]) == ("store_unavailable", "Service temporarily unavailable")
                async with asyncio.timeout(WAIT):
                    while (ready := await http.get("/api/ready")).status_code == 200:
                        await asyncio.sleep(0.1)
                assert ready.json()["reason"] == "database read-only"
                admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
                admin.execute("SELECT pg_reload_conf()")
                began = time.monotonic()
                while not (await sender.call("send-message", {"message": "after"}))["success"]:
                    assert time.monotonic() - began < 5
                    await asyncio.sleep(0.02)
                while (await http.get("/api/ready")).status_code != 200:
                    assert time.monotonic() - began < 5
                assert (await http.get(f"/api/rooms/{room}/messages")).status_code == 200
                assert not sender.lost.is_set()
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)


@pytest.mark.parametrize(
    ("fault", "cure", "reason"),
    [
        ("REVOKE INSERT ON messages FROM {role}", "GRANT INSERT ON messages TO {role}", "database rights missing"),
        (FULL, "DROP TRIGGER full_disk ON messages", "database disk full"),
    ],
    ids=["no right", "disk full"],
)
async def test_database_error_text_is_hidden_from_clients(
    postgres_url: str, tmp_path: Path, room: str, fault: str, cure: str, reason: str
) -> None:
    role = f"role_{room.replace('-', '_')}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f'CREATE ROLE "{role}" LOGIN')
        admin.execute(f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{role}"')
        url = postgres_url.replace("//chatsys@", f"//{role}@")
        running = running_server(url, tmp_path)
        server = await asyncio.to_thread(running.__enter__)
        try:
            async with Client(server.url, ["websocket"]) as sender, http_client(server.url) as http:
                await sender.join(room, name="Ann")
                admin.execute(fault.format(role=f'"{role}"'))
                for _ in range(3):
                    answer = await sender.call("send-message", {"message": "hello"})
                    assert (answer["success"], answer["code"]) == (False, "store_unavailable")
                    assert answer["message"] == "Service temporarily unavailable"
                    assert (await sender.want("error"))["message"] == "Service temporarily unavailable"
                ready = await http.get("/api/ready")
                assert (ready.status_code, ready.json()["reason"]) == (503, reason)
                assert (await http.get(f"/api/rooms/{room}/messages")).status_code == 200
                admin.execute(cure.format(role=f'"{role}"'))
                assert (await sender.call("send-message", {"message": "hello"}))["success"]
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)
            admin.execute(f'DROP OWNED BY "{role}"')
            admin.execute(f'DROP ROLE "{role}"')
    (log,) = tmp_path.glob("server-*.log")
    assert log.read_text().count("The database fails") == 1
