"""The progress of a long command, and what remains when Ctrl-C ends it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from chatsys.cli.working import working
from chatsys.database import backup as backups
from chatsys.database import cleanup as cleanups
from chatsys.database import restore as restores
from chatsys.database.backup import backup
from chatsys.database.progress import Dumped, estimated
from chatsys.database.restore import restore
from tests.db.conftest import chatsys, content, fill_chat, rows, run
from tests.terminals import Terminal

FILES = pytest.mark.parametrize("name", ["chat.sql", "chat.dump"])


class Reports(list[tuple[str, float, float]]):
    """Collects what an operation reports."""

    def __call__(self, doing: str, done: float, whole: float) -> None:
        self.append((doing, done, whole))


@FILES
def test_restore_reports_the_bytes_of_its_file(
    fresh: str, empty: str, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restores, "_LOOK_LINES", 50)
    fill_chat(fresh, 2_000)
    file = backup(fresh, tmp_path / name).file
    seen = Reports()
    restore(empty, file, report=seen)
    *read, last = seen
    assert last == ("Building the indexes", 0, 0)
    assert {whole for _, _, whole in read} == {file.stat().st_size}
    positions = [done for _, done, _ in read]
    assert positions == sorted(positions)
    assert positions[-1] > 0.5 * file.stat().st_size


def test_backup_reports_rows_of_an_estimated_total(fresh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "_LOOK_SECONDS", 0.001)
    fill_chat(fresh, 20_000)
    run(fresh, "ANALYZE")
    seen = Reports()
    backup(fresh, tmp_path / "chat.dump", verify=True, report=seen)
    dumped = [(done, whole) for doing, done, whole in seen if doing == ""]
    whole = sum(table.rows for table in content(fresh))
    assert {expected for _, expected in dumped} == {whole}
    assert [done for done, _ in dumped] == sorted(done for done, _ in dumped)
    assert 0 < dumped[-1][0] <= whole
    doing = list(dict.fromkeys(doing for doing, _, _ in seen))
    assert doing == ["", "Taking checksums", "Restoring a copy", "Building the indexes"]


def test_table_whose_copy_has_ended_counts_as_complete(fresh: str) -> None:
    fill_chat(fresh, 100)
    run(fresh, "ANALYZE")
    with psycopg.connect(fresh) as connection:
        dumped = Dumped(connection)
        assert dumped.look() == (0, sum(table.rows for table in content(fresh)))
        (users,) = connection.execute("SELECT 'users'::regclass::oid::bigint").fetchone() or ()
        dumped._seen[users] = 3
        assert dumped.look()[0] == 10
        assert estimated(connection, "users", "messages") == 110


def test_clean_up_reports_rows_of_the_old_ones(fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanups, "BATCH", 100)
    fill_chat(fresh, 1_000, days=60)
    seen = Reports()
    done = cleanups.cleanup(
        fresh, sessions_older_than=timedelta(days=1), messages_older_than=timedelta(days=30), report=seen
    )
    assert {whole for _, _, whole in seen} == {done.messages}
    assert [rows for _, rows, _ in seen] == [*range(100, done.messages, 100), done.messages]


def test_progress_is_shown_only_if_standard_error_is_a_terminal(fresh: str, tmp_path: Path) -> None:
    fill_chat(fresh, 100)
    done = chatsys("db", "backup", str(tmp_path / "chat.dump"), "--verify", "--database-url", fresh, FORCE_COLOR="1")
    assert (done.returncode, done.stderr) == (0, "")
    with working("Working") as report:
        report("", 1, 2)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_progress_bar_fits_the_terminal(postgres_url: str, tmp_path: Path, columns: int) -> None:
    fill_chat(postgres_url, 1_000)
    file = tmp_path / f"{'long-' * 20}name.dump"
    with Terminal("db", "backup", str(file), "--verify", "--database-url", postgres_url, columns=columns) as terminal:
        assert terminal.end() == 0
    bars = [line for part in terminal.text.splitlines() for line in part.split("\r") if "━" in line]
    assert bars
    assert max(map(len, bars)) <= columns
    assert f"Next: `chatsys db restore {file}`" not in terminal.text
    assert "Verified: " in terminal.text


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def held(url: str) -> psycopg.Connection[tuple[object, ...]]:
    """Hold a lock that each of these commands waits for."""
    holder = psycopg.connect(url)
    holder.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
    return holder


@pytest.mark.parametrize(
    ("arguments", "doing", "left"),
    [
        (("db", "backup", "new.dump"), "Writing new.dump", "No file was written."),
        (("export", "new.snapshot"), "Exporting to new.snapshot", "No file was written."),
        (("db", "restore", "old.dump", "--yes"), "Restoring ", "Nothing was changed."),
        (("db", "cleanup", "--messages-older-than", "1d"), "Looking for old rows", "Deleted rows stay deleted;"),
        (("import", "old.snapshot"), "Importing old.snapshot", "Imported records stay;"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_ctrl_c_ends_a_command_with_one_line_about_what_remains(
    postgres_url: str, here: Path, arguments: tuple[str, ...], doing: str, left: str
) -> None:
    fill_chat(postgres_url, 50)
    assert chatsys("db", "backup", "old.dump", "--database-url", postgres_url).returncode == 0
    assert chatsys("export", "old.snapshot", "--from", postgres_url).returncode == 0
    before, files = content(postgres_url), sorted(here.iterdir())
    option = {"export": "--from", "import": "--to"}.get(arguments[0], "--database-url")
    with held(postgres_url), Terminal(*arguments, option, postgres_url, CHATSYS_STATEMENT_TIMEOUT="60") as terminal:
        terminal.until(doing)
        terminal.interrupt()
        assert terminal.end() == 130
    said = terminal.text.rpartition("Interrupted. ")[2]
    assert said.startswith(left)
    assert said.count("\n") == 1
    assert "Traceback" not in terminal.text
    assert content(postgres_url) == before
    assert sorted(here.iterdir()) == files


def test_ctrl_c_at_a_prompt_changes_nothing(postgres_url: str) -> None:
    with Terminal("db", "reset", "--database-url", postgres_url) as terminal:
        terminal.until("Type its name to continue")
        terminal.interrupt()
        assert terminal.end() == 130
    assert terminal.text.rstrip().endswith("Interrupted. Nothing was changed.")
    assert rows(postgres_url, "SELECT count(*) FROM rooms") == [(3,)]
