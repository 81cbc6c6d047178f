"""Several server processes on one port: chatsys serve --workers."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from contextlib import AsyncExitStack

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from .clients import WAIT, Client, get


def workers_of(server) -> list[psutil.Process]:
    """Return the processes that serve, without the helpers of multiprocessing."""
    return [process for process in psutil.Process(server.process.pid).children() if serves(process)]


def serves(process: psutil.Process) -> bool:
    """Return whether the process is a live worker; a killed one is a zombie for a moment, or already gone."""
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # this includes psutil's ZombieProcess
        return False


def until(true) -> None:
    """Wait for a condition; the test's time limit ends an endless wait."""
    while not true():
        time.sleep(0.05)


@pytest.fixture
def server(serve, postgres_url):
    return serve("--workers", "2", DATABASE_URL=postgres_url)


def test_start_is_announced_once_when_all_workers_serve(server):
    connected, started = server.stdout
    assert connected.startswith("Connected to PostgreSQL database")
    assert started.startswith("Chat Server Started Successfully!")
    assert len(workers_of(server)) == 2
    with httpx.Client(base_url=server.url, timeout=WAIT) as client:
        sent = {"username": "alice", "email": "a@example.org", "password": "secret"}
        assert client.post("/api/auth/register", json=sent).status_code == 201
    for _ in range(20):
        assert get(f"{server.url}/api/users").json()["total"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_all_workers_with_status_0(server, number):
    workers = workers_of(server)
    assert server.stop(number) == 0
    assert not any(process.is_running() for process in workers)
    assert "Traceback" not in server.stderr


def test_killed_worker_is_replaced(server):
    killed = workers_of(server)[0]
    killed.kill()
    until(lambda: killed not in workers_of(server) and len(workers_of(server)) == 2)
    for _ in range(20):
        assert get(f"{server.url}/api/ready").status_code == 200


def test_metrics_are_the_sums_of_all_workers(server):
    def numbers() -> dict[str, float]:
        families = text_string_to_metric_families(get(f"{server.url}/metrics").text)
        return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}

    async def talk() -> None:
        expected = {
            "chatsys_processes": 2,
            "chatsys_connections": 6,
            "chatsys_sessions": 6,
            "chatsys_messages_total": 6,
        }
        async with AsyncExitStack() as stack:
            people = [await stack.enter_async_context(Client(server.url, ["websocket"])) for _ in range(6)]
            for person in people:
                await person.join("tea")
            for person in people:
                await person.send("hello")
            await asyncio.to_thread(until, lambda: expected.items() <= numbers().items())

    asyncio.run(talk())
    stopped = workers_of(server)[0]
    stopped.suspend()
    try:
        until(lambda: numbers()["chatsys_processes"] == 1)
    finally:
        stopped.resume()
    until(lambda: numbers()["chatsys_processes"] == 2)


def test_sigusr1_ends_no_worker(server):
    workers = workers_of(server)
    for process in (*workers, server.process):
        process.send_signal(signal.SIGUSR1)
    until(lambda: server.stderr.count("SIGUSR1 was ignored") == 3)
    assert workers_of(server) == workers
    assert server.stop() == 0


def test_workers_stop_when_the_first_process_has_vanished(server):
    workers = workers_of(server)
    server.kill()
    assert psutil.wait_procs(workers, timeout=WAIT)[1] == []


def test_workers_on_a_memory_store_are_refused_with_a_remedy(start):
    served = start("--workers", "2", DATABASE_URL="memory://")
    assert served.process.returncode == 1
    assert "--workers 1" in served.stderr
    assert "Traceback" not in served.stderr


def test_failed_start_is_reported_once(start):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    served = start("--workers", "2", DATABASE_URL=f"postgresql://u@127.0.0.1:{port}/chat")
    assert served.process.returncode == 1
    assert served.stderr.count("Error: ") == 1
    assert "Traceback" not in served.stderr
