"""Ctrl-C in long commands: one line, the documented status, nothing left running, no leftover files."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.db.conftest import chatsys
from tests.leftovers import assert_nobody_works_in
from tests.terminals import Terminal

LOADTEST = ("loadtest", "--users", "5", "--minutes", "1", "--interval", "1", "--tags", "send", "--store")
BENCH = ("bench", "--profile", "quick", "--depth", "store", "--only")


@pytest.fixture
def here(server_folder: Path) -> Path:
    """A working folder with a folder ``tmp`` for temporary files, which the embedded PostgreSQL's account can enter."""
    (server_folder / "tmp").mkdir(mode=0o711)
    return server_folder


def terminal_in(here: Path, *arguments: str) -> Terminal:
    """Run the command in that folder."""
    return Terminal(*arguments, folder=here, TMPDIR=str(here / "tmp"))


def wait_for(terminal: Terminal, found: Callable[[], object]) -> None:
    """Wait until ``found`` finds something while the command runs."""
    deadline = time.monotonic() + 120
    while not found():
        assert terminal.process.poll() is None, terminal.text
        assert time.monotonic() < deadline, terminal.text
        terminal.read(0.01)


def assert_tidy(here: Path) -> None:
    """Check that no process works there and that no temporary file or incomplete cluster remains."""
    assert_nobody_works_in(here)
    assert os.listdir(here / "tmp") == []
    assert list(here.rglob("data.partial")) == []
    assert list(here.rglob("postmaster.pid")) == []


@pytest.mark.process
@pytest.mark.parametrize("moment", ["data.partial", "postmaster.pid"])
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("serve", "--port", "0"), 0),
        (("db", "init"), 130),
        (("demo",), 130),
        ((*LOADTEST, "postgresql"), 130),
        ((*BENCH, "send_message"), 130),
    ],
    ids=["serve", "db init", "demo", "loadtest", "bench"],
)
def test_ctrl_c_while_the_private_database_starts_leaves_nothing_behind(
    here: Path, arguments: tuple[str, ...], status: int, moment: str
) -> None:
    with terminal_in(here, *arguments) as terminal:
        wait_for(terminal, lambda: list(here.rglob(moment)))
        terminal.interrupt()
        assert terminal.end() == status
    said = terminal.text.replace("^C", "").splitlines()
    assert "Traceback" not in terminal.text
    if status:
        assert said[-1].startswith("Interrupted.")
    assert_tidy(here)
    assert list(here.glob("reports/runs/*")) == []


@pytest.mark.process
@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_in_a_benchmark_keeps_the_measurements(here: Path, times: int) -> None:
    with terminal_in(here, *BENCH, "send_message") as terminal:
        terminal.until("table: round 2")
        for _ in range(times):
            terminal.interrupt()
            time.sleep(0.2)  # two presses within a second count as one
        assert terminal.end() == 130
    assert "Traceback" not in terminal.text
    (folder,) = here.glob("reports/runs/*")
    assert json.loads((folder / "result.json").read_text())["partial"] is True
    assert "Report: " in terminal.text.splitlines()[-1]
    assert_tidy(here)


@pytest.mark.process
def test_ctrl_c_twice_ends_a_load_test_and_all_its_processes(here: Path) -> None:
    with terminal_in(here, *LOADTEST, "postgresql") as terminal:
        wait_for(
            terminal,
            lambda: any('"push":{' in each.read_text() for each in here.glob("reports/runs/*/*/samples.jsonl")),
        )
        terminal.interrupt()
        time.sleep(1.3)  # two presses within a second count as one
        terminal.interrupt()
        assert terminal.end() == 130
    assert "Traceback" not in terminal.text
    assert terminal.text.splitlines()[-1] == "Interrupted."
    (folder,) = here.glob("reports/runs/*")
    assert json.loads((folder / "result.json").read_text())["verdict"] == "INTERRUPTED"
    assert_tidy(here)


@pytest.mark.parametrize("is_there", [True, False], ids=["empty folder", "no folder"])
def test_ctrl_c_while_notebooks_are_copied_leaves_the_folder_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    folder, copied = tmp_path / "measured", []

    def copy(source: Path, target: Path, **_: object) -> None:
        target.mkdir(parents=True)
        copied.append(source)
        if len(copied) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copytree", copy)
    if is_there:
        folder.mkdir()
    done = chatsys("notebooks", str(folder))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted. Nothing was written.\n")
    assert [path.name for path in tmp_path.rglob("*")] == (["measured"] if is_there else [])
