"""The ready file of chatsys serve: it holds the server's URL while the server accepts connections."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from .clients import get
from .conftest import Serve


def listens(url: str) -> bool:
    return get(f"{url}/api/health").status_code == 200


def test_ready_file_holds_the_url_until_the_server_stops(serve: Serve, tmp_path: Path) -> None:
    server = serve(DATABASE_URL="memory://")
    assert server.ready.read_text() == f"http://127.0.0.1:{server.port}\n"
    assert listens(server.url)
    assert server.stop() == 0
    assert list(tmp_path.glob("ready*")) == []


def test_ready_file_of_several_workers_appears_once_all_serve(serve: Serve, postgres_url: str, tmp_path: Path) -> None:
    server = serve("--workers", "2", DATABASE_URL=postgres_url)
    assert server.ready.read_text() == f"http://127.0.0.1:{server.port}\n"
    commands = [process.cmdline() for process in psutil.Process(server.process.pid).children()]
    assert sum("spawn_main" in " ".join(command) for command in commands) == 2
    assert len(server.stdout) == 2  # printed once both had started
    assert all(listens(server.url) for _ in range(20))
    assert server.stop() == 0
    assert list(tmp_path.glob("ready*")) == []


def test_ready_file_of_a_killed_server_is_removed_by_the_next_start(serve: Serve, start: Serve) -> None:
    killed = serve(DATABASE_URL="memory://")
    killed.kill()
    assert killed.ready.exists()
    following = start("--ready-file", str(killed.ready), DATABASE_URL="postgresql://127.0.0.1:1/none")
    assert following.process.returncode == 1
    assert not killed.ready.exists()


def test_ready_file_survives_a_server_that_finds_the_port_in_use(serve: Serve, start: Serve) -> None:
    first = serve(DATABASE_URL="memory://")
    options = ("--ready-file", str(first.ready), "--port", str(first.port))
    assert start(*options, DATABASE_URL="memory://").process.returncode == 1
    assert first.ready.exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ready_file_in_a_missing_folder_is_refused_before_the_start(
    start: Serve, postgres_url: str, tmp_path: Path, workers: str
) -> None:
    missing = tmp_path / "missing" / "ready"
    server = start("--ready-file", str(missing), "--workers", workers, DATABASE_URL=postgres_url)
    assert server.process.returncode == 1
    assert server.stdout == []
    assert server.stderr.startswith(f"Error: The ready file {missing} can't be written: No such file or directory.")
    assert "Traceback" not in server.stderr


def test_folder_as_the_ready_file_is_refused(start: Serve, tmp_path: Path) -> None:
    server = start("--ready-file", str(tmp_path), DATABASE_URL="memory://")
    assert server.process.returncode == 1
    assert f"The ready file {tmp_path} can't be written" in server.stderr
