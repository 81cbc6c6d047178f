"""``chatsys serve`` with an unusable bus ends within five seconds and names the remedy. Also, PgBouncer."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.brokers import nats_server, redis_server
from tests.conftest import free_port
from tests.flow.clients import get
from tests.flow.serving import Served
from tests.pgbouncer import bounced

LEASE = 3
"""Seconds; a second server behind PgBouncer searches for others for less than half of this."""


@contextmanager
def serving(folder: Path, *arguments: str, **environ: str) -> Iterator[Served]:
    served = Served(folder, *arguments, PORT="0", CHATSYS_LEASE=str(LEASE), **environ)
    try:
        yield served
    finally:
        served.kill()


@pytest.fixture(scope="module")
def interpreter_seconds() -> float:
    """Return how long this machine currently takes to start the program."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "chatsys", "serve", "--help"], check=True, capture_output=True)
    return time.monotonic() - began


Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, interpreter_seconds: float) -> Refused:
    """Return the log of a server that does not start."""

    def go(*arguments: str, **environ: str) -> str:
        began = time.monotonic()
        with serving(tmp_path, *arguments, **environ) as served:
            assert served.url == "", "it started"
            assert time.monotonic() - began < 5 + 8 * interpreter_seconds  # a busy machine is slow
            assert served.process.wait() == 1
            assert "Traceback" not in served.stderr
            return served.stderr

    return go


def test_serve_names_the_limit_of_a_role_that_has_one_connection(refused: Refused, postgres_url: str) -> None:
    role = f"role_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1 IN ROLE chatsys")
        try:
            text = refused(DATABASE_URL=postgres_url.replace("//chatsys@", f"//{role}@"))
        finally:
            admin.execute(f"DROP ROLE {role}")
    assert "CONNECTION LIMIT" in text


@pytest.mark.parametrize(
    ("password", "rules", "hint"),
    [("secret", ["resetchannels", "+@all"], "ACL SETUSER"), ("wrong", ["&*", "+@all"], "CHATSYS_BUS_URL")],
    ids=["no channels", "wrong password"],
)
def test_serve_names_what_a_user_of_redis_lacks(
    refused: Refused, postgres_url: str, tmp_path: Path, password: str, rules: list[str], hint: str
) -> None:
    port = free_port()
    process = redis_server(port, tmp_path)
    try:
        command = ["redis-cli", "-p", str(port), "ACL", "SETUSER", "chat", "reset", "on", ">secret", *rules]
        subprocess.run(command, check=True, capture_output=True)
        bus = f"redis://chat:{password}@127.0.0.1:{port}"
        text = refused(DATABASE_URL=postgres_url, CHATSYS_BUS_URL=bus)
    finally:
        process.stop(kill=True)
    assert hint in text
    assert f":{password}@" not in text


def test_serve_names_a_user_that_nats_refuses(refused: Refused, postgres_url: str) -> None:
    port = free_port()
    process = nats_server(port, "--user", "chat", "--pass", "secret")
    try:
        text = refused(DATABASE_URL=postgres_url, CHATSYS_BUS_URL=f"nats://chat:wrong@127.0.0.1:{port}")
    finally:
        process.stop(kill=True)
    assert "NATS refuses" in text
    assert "CHATSYS_BUS_URL" in text


@pytest.mark.parametrize("scheme", ["redis", "nats"])
def test_serve_names_a_broker_that_is_unreachable(refused: Refused, postgres_url: str, scheme: str) -> None:
    text = refused(DATABASE_URL=postgres_url, CHATSYS_BUS_URL=f"{scheme}://127.0.0.1:{free_port()}")
    assert "CHATSYS_BUS_URL" in text


@pytest.mark.parametrize("scheme", ["redis", "nats"])
def test_serve_gives_up_on_a_broker_that_does_not_answer(
    refused: Refused, postgres_url: str, scheme: str, tmp_path: Path
) -> None:
    port = free_port()
    process = redis_server(port, tmp_path) if scheme == "redis" else nats_server(port)
    process.suspend()
    try:
        text = refused(DATABASE_URL=postgres_url, CHATSYS_BUS_URL=f"{scheme}://127.0.0.1:{port}")
    finally:
        process.stop(kill=True)
    assert "CHATSYS_BUS_URL" in text


@pytest.fixture
def bouncer(postgres_url: str) -> Iterator[str]:
    with bounced(postgres_url) as url:
        yield url


def test_serve_refuses_workers_behind_pgbouncer(refused: Refused, bouncer: str) -> None:
    text = refused("--workers", "2", DATABASE_URL=f"{bouncer}?pgbouncer=true")
    assert "2 workers" in text
    assert "CHATSYS_BUS_URL" in text
    assert "--workers 1" in text


def test_serve_starts_one_server_behind_pgbouncer_and_refuses_a_second(
    refused: Refused, bouncer: str, tmp_path: Path
) -> None:
    url = f"{bouncer}?pgbouncer=true"
    with serving(tmp_path, DATABASE_URL=url) as first:
        assert first.url, first.stderr
        assert "CHATSYS_BUS_URL" in first.stderr
        text = refused(DATABASE_URL=url)
        assert "Another server uses this database" in text
        assert "CHATSYS_BUS_URL" in text
        assert get(f"{first.url}/api/ready").status_code == 200
        assert first.stop() == 0


def test_serve_starts_several_servers_behind_pgbouncer_with_another_bus(bouncer: str, tmp_path: Path) -> None:
    port = free_port()
    environ = {"DATABASE_URL": f"{bouncer}?pgbouncer=true", "CHATSYS_BUS_URL": f"nats://127.0.0.1:{port}"}
    with ExitStack() as stack:
        stack.callback(nats_server(port).stop, kill=True)
        servers = [stack.enter_context(serving(tmp_path, **environ)) for _ in range(2)]
        for served in servers:
            assert served.url, served.stderr
            assert "PgBouncer" not in served.stderr
            assert get(f"{served.url}/api/ready").status_code == 200
        assert [served.stop(signal.SIGTERM) for served in servers] == [0, 0]


def test_serve_names_what_a_pgbouncer_url_lacks(refused: Refused, bouncer: str) -> None:
    assert "Add pgbouncer=true to DATABASE_URL" in refused(DATABASE_URL=bouncer)
