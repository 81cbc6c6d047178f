"""The life of a server: how it starts, what it keeps, how it stops, and what it says when it can't start."""

from __future__ import annotations

import re
import resource
import signal
import socket
import subprocess
import sys

import httpx
import psutil
import psycopg
import pytest

from chatsys import logs
from chatsys.database.embedded import embedded_server
from chatsys.errors import OperatorError
from chatsys.server import process
from chatsys.settings import Settings

from .clients import WAIT, Client, get, post
from .serving import clean_environment

WORD = "word-that-nobody-may-see"


def accounts(url: str) -> list[str]:
    return [user["username"] for user in get(f"{url}/api/users").json()["users"]]


def register(url: str, username: str = "alice") -> dict[str, str]:
    sent = {"username": username, "email": f"{username}@example.org", "password": "secret of mine"}
    answer = post(f"{url}/api/auth/register", json=sent)
    assert answer.status_code == 201, answer.text
    return answer.json()


def refused(served, *words: str) -> None:
    """Check that it ended with status 1 and one or two sentences that contain these words."""
    assert served.process.returncode == 1, served.stderr
    assert not served.url
    assert "Traceback" not in served.stderr
    lines = [line for line in served.stderr.splitlines() if line]
    assert len(lines) == 1, served.stderr
    assert lines[0].startswith("Error: ")
    for word in words:
        assert word in lines[0]


def test_server_accepts_as_many_connections_as_the_system_allows(serve, database_url):
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 900), most))
    try:
        server = serve(DATABASE_URL=database_url)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
    assert psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_NOFILE) == (most, most)


def test_start_names_the_store_and_the_address_once_each(serve, database_url):
    server = serve(DATABASE_URL=database_url)
    connected, started = server.stdout
    if database_url == "memory://":
        assert connected.startswith("Connected to the memory store")
    else:
        name = re.search(r"/(scratch_\w+)", database_url)[1]
        assert re.match(rf"Connected to PostgreSQL database {name} on \S+ \(PostgreSQL 18", connected)
    assert started == f"Chat Server Started Successfully! Listening on http://127.0.0.1:{server.port}"
    assert get(f"{server.url}/api/health").status_code == 200


def test_command_options_win_over_the_environment(serve):
    server = serve(
        "--database-url", "memory://", "--port", "0", DATABASE_URL="postgresql://nowhere.invalid/x", PORT="1"
    )
    assert server.stdout[0].startswith("Connected to the memory store")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_the_server_in_time_with_status_0(serve, database_url, number):
    server = serve(DATABASE_URL=database_url)
    with httpx.Client(timeout=WAIT) as idle:
        idle.get(f"{server.url}/api/health")
        assert server.stop(number) == 0
    assert "Traceback" not in server.stderr


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_open_sockets_do_not_delay_a_stop(serve, database_url, transport):
    server = serve(DATABASE_URL=database_url)
    async with Client(server.url, [transport]) as client:
        await client.join("attic")
        assert server.stop() == 0
    assert "Traceback" not in server.stderr


def test_second_signal_stops_at_once(serve):
    server = serve(DATABASE_URL="memory://")
    with socket.create_connection(("127.0.0.1", server.port)) as half:
        half.sendall(b"POST /api/auth/login HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        server.process.send_signal(signal.SIGINT)
        assert server.stop(signal.SIGINT) == 0


def test_restart_keeps_accounts_and_tokens(serve, postgres_url):
    before = serve(DATABASE_URL=postgres_url)
    owner = register(before.url)
    profile = get(f"{before.url}/api/users/{owner['user']['userId']}").json()
    rooms = get(f"{before.url}/api/rooms").json()
    assert before.stop() == 0
    after = serve(DATABASE_URL=postgres_url)
    assert get(f"{after.url}/api/users/{owner['user']['userId']}").json() == profile
    assert get(f"{after.url}/api/rooms").json() == rooms
    verify = get(f"{after.url}/api/auth/verify", headers={"x-access-token": owner["token"]})
    assert verify.status_code == 200


async def test_acknowledged_messages_survive_a_kill(serve, postgres_url):
    before = serve(DATABASE_URL=postgres_url)
    owner = register(before.url)
    async with Client(before.url, ["websocket"]) as client:
        await client.join("attic", token=owner["token"])
        acks = [await client.send(f"message {number}") for number in range(20)]
        before.kill()
    after = serve(DATABASE_URL=postgres_url)
    page = get(f"{after.url}/api/rooms/attic/messages").json()["data"]
    assert [(message["id"], message["seq"]) for message in page] == [(ack["id"], ack["seq"]) for ack in acks]
    assert accounts(after.url) == ["alice"]
    assert get(f"{after.url}/api/rooms/attic/users").json()["count"] == 0
    assert get(f"{after.url}/api/users/{owner['user']['userId']}").json()["user"]["status"] == "offline"


def test_memory_store_forgets_everything_at_a_restart(serve):
    before = serve(DATABASE_URL="memory://")
    register(before.url)
    before.stop()
    assert accounts(serve(DATABASE_URL="memory://").url) == []


def test_two_servers_share_one_database(serve, postgres_url):
    first, second = serve(DATABASE_URL=postgres_url), serve(DATABASE_URL=postgres_url)
    register(first.url)
    assert accounts(second.url) == ["alice"]
    assert get(f"{second.url}/api/rooms").json()["total"] == 3


def test_first_start_creates_the_schema_and_a_second_one_nothing(serve, empty_postgres_url):
    for _ in range(2):
        server = serve(DATABASE_URL=empty_postgres_url)
        names = [room["name"] for room in get(f"{server.url}/api/rooms").json()["data"]]
        assert names == ["general", "random", "tech"]
        assert server.stop() == 0


def test_requests_are_logged_in_development_and_not_in_production(serve):
    quiet = {"CHATSYS_ENV": "production", "JWT_SECRET": "x" * 32, "CHATSYS_LOG_FORMAT": "json"}
    for environ, logged in [({}, True), (quiet, False)]:
        server = serve(DATABASE_URL="memory://", **environ)
        get(f"{server.url}/api/users/search/needle")
        server.stop()
        assert ("needle" in server.stderr) is logged


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_ordinary_connection_leaves_no_line_in_a_log_of_production(serve, transport):
    server = serve(DATABASE_URL="memory://", CHATSYS_ENV="production", JWT_SECRET="x" * 32)
    async with Client(server.url, [transport]) as client:
        await client.join("general")
    server.stop()
    assert server.stderr == ""


def test_taken_port_is_reported_with_the_command_that_helps(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused(start(DATABASE_URL="memory://", PORT=port), port, "in use", "chatsys serve --port")


def test_port_taken_during_the_start_is_reported_the_same_way(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logs, "configure", lambda _: None)
    bound = process.bound_socket
    with bound("127.0.0.1", 0) as other, bound("127.0.0.1", other.getsockname()[1]) as ours:
        other.listen()
        with pytest.raises(OperatorError, match="can't be used: Address already in use"):
            process.run(Settings(database_url="memory://", jwt_secret="x" * 32), lambda line: None, ours)


def test_address_of_another_machine_is_reported_in_one_sentence(start):
    refused(start("--host", "192.0.2.1", DATABASE_URL="memory://"), "192.0.2.1")


def with_parts(url: str, **parts: str) -> str:
    """Return the URL of a scratch database with other parts."""
    known = psycopg.conninfo.conninfo_to_dict(url) | parts
    query = "&".join(f"{name}={known.pop(name)}" for name in ("host", "port") if name in known)
    user = known.get("user", "") + (f":{known['password']}" if "password" in known else "")
    return f"postgresql://{user}@/{known['dbname']}?{query}"


def test_unreachable_database_is_named_without_its_password(start):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    refused(start(DATABASE_URL=f"postgresql://u:{WORD}@127.0.0.1:{port}/chat"), "127.0.0.1")


def test_host_that_does_not_exist_is_named(start):
    served = start(DATABASE_URL=f"postgresql://u:{WORD}@nowhere.invalid/chat")
    refused(served, "nowhere.invalid")
    assert WORD not in served.stderr


def test_database_that_does_not_exist_is_named(start, postgres_url):
    refused(start(DATABASE_URL=with_parts(postgres_url, dbname="no_such_db")), "no_such_db")


def test_role_without_rights_on_the_schema_is_reported(start, empty_postgres_url):
    role = "powerless_" + psycopg.conninfo.conninfo_to_dict(empty_postgres_url)["dbname"][-12:]
    with psycopg.connect(empty_postgres_url, autocommit=True) as admin:
        admin.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        admin.execute(f"CREATE ROLE {role} LOGIN")
    try:
        refused(start(DATABASE_URL=with_parts(empty_postgres_url, user=role)))
    finally:
        with psycopg.connect(empty_postgres_url, autocommit=True) as admin:
            admin.execute(f"DROP ROLE {role}")


def test_schema_newer_than_the_program_is_refused(serve, start, empty_postgres_url):
    serve(DATABASE_URL=empty_postgres_url).stop()
    with psycopg.connect(empty_postgres_url, autocommit=True) as admin:
        admin.execute("UPDATE alembic_version SET version_num = '9999'")
    refused(start(DATABASE_URL=empty_postgres_url), "9999")


def test_ctrl_c_during_a_command_is_exit_status_130_without_a_traceback(tmp_path):
    program = (
        "import os, signal, sys; from chatsys.server import process; from chatsys.cli import main;"
        "process.run = lambda settings: os.kill(os.getpid(), signal.SIGINT);"
        "sys.argv = ['chatsys', 'serve']; main()"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=clean_environment(),
        check=False,
    )
    assert (found.returncode, found.stderr) == (130, "Interrupted.\n")


def test_requests_get_503_during_an_outage_and_the_server_recovers(serve, tmp_path):
    folder = tmp_path / "pg"
    with embedded_server(folder) as url:
        server = serve(DATABASE_URL=url)
        register(server.url)
    refused = {"success": False, "message": "Service temporarily unavailable"}
    for path, said in (
        ("/api/users", refused),
        ("/api/ready", refused | {"reason": "database unreachable"}),
        ("/api/rooms/general/messages", refused),
    ):
        answer = get(f"{server.url}{path}")
        assert (answer.status_code, answer.json()) == (503, said), path
        assert int(answer.headers["retry-after"]) > 0
    for path in ("/api/health", "/metrics"):
        assert get(f"{server.url}{path}").status_code == 200
    with embedded_server(folder):
        while get(f"{server.url}/api/ready").status_code == 503:
            assert server.process.poll() is None
        assert accounts(server.url) == ["alice"]
        assert server.stop() == 0
    assert "Traceback" not in server.stderr


def test_server_stops_in_time_while_the_database_is_unavailable(serve, tmp_path):
    with embedded_server(tmp_path / "pg") as url:
        server = serve(DATABASE_URL=url)
    assert server.stop() == 0
