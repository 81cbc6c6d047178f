"""A memory server keeps its store in a snapshot file, at a stop and on SIGUSR1, and never writes half of it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatsys.database import snapshot
from chatsys.errors import OperatorError
from chatsys.server.snapshot_file import SnapshotFile

from ..flow.clients import get, post
from ..flow.serving import Served

Start = Callable[..., Served]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers on memory:// in one folder."""
    running: list[Served] = []

    def begin(*arguments: str, url: str = "memory://") -> Served:
        running.append(Served(tmp_path, "--port", "0", "--database-url", url, *arguments))
        return running[-1]

    yield begin
    for served in running:
        served.kill()


def register(served: Served, name: str) -> None:
    fields = {"username": name, "email": f"{name}@example.org", "password": "password"}
    assert post(f"{served.url}/api/auth/register", json=fields).status_code == 201


def usernames(served: Served) -> set[str]:
    return {user["username"] for user in get(f"{served.url}/api/users").json()["users"]}


def wait_for(happened: Callable[[], bool]) -> None:
    """Wait until it has happened; the test's time limit ends an endless wait."""
    while not happened():
        time.sleep(0.01)


@pytest.mark.process
def test_messages_and_passwords_survive_a_stop(start):
    first = start("--snapshot", "chat.snapshot")
    register(first, "ann")
    assert first.stop() == 0
    second = start("--snapshot", "chat.snapshot")
    assert usernames(second) == {"ann"}
    assert any("Loaded 1 users" in line for line in second.stdout)
    login = {"username": "ann", "password": "password"}
    assert post(f"{second.url}/api/auth/login", json=login).status_code == 200


@pytest.mark.process
def test_snapshot_on_sigusr1_survives_a_hard_kill(start, tmp_path):
    file = tmp_path / "chat.snapshot"
    first = start("--snapshot", str(file))
    register(first, "ann")
    first.process.send_signal(signal.SIGUSR1)
    wait_for(file.exists)
    register(first, "bob")
    first.kill()
    assert usernames(start("--snapshot", str(file))) == {"ann"}


@pytest.mark.process
def test_sigusr1_saves_a_server_that_was_started_without_a_file(start, tmp_path):
    file = tmp_path / ".chatsys" / "memory.snapshot"
    served = start()
    register(served, "ann")
    served.process.send_signal(signal.SIGUSR1)
    wait_for(file.exists)
    assert snapshot.check(file).counts.users == 1
    assert usernames(served) == {"ann"}
    file.unlink()
    assert served.stop() == 0
    assert not file.exists(), "only a server that was given a file keeps one"


@pytest.mark.process
def test_damaged_file_stops_the_start_and_is_left_alone(start, tmp_path):
    file = tmp_path / "chat.snapshot"
    file.write_bytes(b"damaged")
    served = start("--snapshot", str(file))
    assert served.process.wait() == 1
    assert f"{file} is not a snapshot, or a damaged one" in served.stderr.replace("\n", " ")
    assert "Traceback" not in served.stderr
    assert file.read_bytes() == b"damaged"


def test_snapshot_file_together_with_a_database_is_refused(start, postgres_url):
    served = start("--snapshot", "chat.snapshot", url=postgres_url)
    assert served.process.wait() == 1
    assert "chatsys import FILE --to URL" in served.stderr


async def test_simultaneous_requests_write_one_file_after_the_other(tmp_path, filled):
    kept = SnapshotFile(filled, tmp_path / "chat.snapshot")
    for _ in range(3):
        kept.save_soon()
    await kept.finish(write=True)
    assert snapshot.check(tmp_path / "chat.snapshot").counts.messages == 500
    assert [path.name for path in tmp_path.iterdir()] == ["chat.snapshot"]


async def test_unwritable_file_is_logged_while_running_and_raised_at_the_stop(tmp_path, filled, caplog):
    (tmp_path / "folder").mkdir()
    kept = SnapshotFile(filled, tmp_path / "folder")
    kept.save_soon()
    await kept.finish(write=False)
    assert "Could not write the snapshot" in caplog.text
    with pytest.raises(OperatorError, match="Is a directory"):
        await kept.finish(write=True)
