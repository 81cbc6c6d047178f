"""Every command of the database setup, the migration guide and the tutorial works, in the order of the page."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from chatsys import errors
from chatsys.cli import app
from chatsys.database.embedded import embedded_server, wheel_programs
from chatsys.settings import read_settings
from chatsys.store.address import read_url
from tests.conftest import free_port, system_programs
from tests.db.conftest import ORIGINAL

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^( *)```(\w+) ?(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A code block of a page: ``kind`` is sh, sql or env; ``how`` is empty, ``server`` or ``elsewhere``."""

    kind: str
    how: str
    text: str


def blocks(page: str) -> list[Block]:
    """Return the page's code blocks, in order."""
    found = _BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))
    return [Block(kind, how, textwrap.dedent(text)) for _, kind, how, text in found]


PAGES = ("DATABASE_SETUP.md", "MIGRATION.md")


class Machine:
    """The reader's machine as the page describes it, but with another port and without root."""

    def __init__(self, folder: Path, programs: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        path = [str(Path(sys.executable).parent), str(programs), os.environ["PATH"]]
        own = {name: text for name, text in os.environ.items() if name in {"HOME", "LANG", "TZ"}}
        self.environment = {
            **own, "PATH": os.pathsep.join(path), "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "chatsys",
            "PORT": "0", "CHATSYS_HOST": "127.0.0.1", "NO_COLOR": "1",
        }  # fmt: skip

    def here(self, text: str) -> str:
        """Return the text of a page with this machine's port, and without commands that need root."""
        return text.replace("localhost:5432", f"127.0.0.1:{self.port}").replace("sudo -u postgres ", "")

    def run(self, block: Block) -> None:
        """Execute the block."""
        if block.kind == "env":
            self.configure(block.text)
        elif block.kind == "sql":
            self.shell(f"psql -v ON_ERROR_STOP=1 chatdb <<'SQL'\n{block.text}SQL\n")
        elif block.how == "server":
            self.serve(block.text)
        else:
            self.shell(self.here(block.text))

    def configure(self, text: str) -> None:
        """Write the lines to .env if they name this machine; other lines are read as settings below."""
        if "localhost:5432" in text:
            (self.folder / ".env").write_text(self.here(text), encoding="utf-8")

    def shell(self, script: str) -> None:
        """Run a script to its end; each of its commands must succeed."""
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"

    def serve(self, line: str) -> None:
        """Start a server, and stop it once it has reported its address."""
        command = [sys.executable, "-m", *shlex.split(self.here(line))]
        ready = self.folder / "serve.ready"
        environment = self.environment | {"CHATSYS_READY_FILE": str(ready)}
        with subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as server:
            while server.poll() is None and not ready.exists():
                time.sleep(0.05)
            started = ready.exists()
            server.terminate()
            said, _ = server.communicate()
            assert started, said
            assert server.returncode == 0, said


@pytest.fixture(
    params=[pytest.param("embedded", marks=pytest.mark.database), pytest.param("system", marks=pytest.mark.database)]
)
def machine(request: pytest.FixtureRequest, tmp_path: Path, server_folder: Path) -> Iterator[Machine]:
    """A fresh PostgreSQL of either version, in an empty folder."""
    embedded = request.param == "embedded"
    programs = wheel_programs() if embedded else system_programs()
    port = free_port()
    settings = {"listen_addresses": "127.0.0.1", "port": str(port), "fsync": "off"}
    locale = {} if embedded else {"locale": ("--locale=C.UTF-8",)}
    with embedded_server(server_folder / "pg", programs=programs, settings=settings, **locale):  # type: ignore[arg-type]
        work = tmp_path / "work"
        work.mkdir()
        yield Machine(work, programs, port)


@pytest.mark.timeout(400)
def test_every_command_of_the_database_setup_works(machine: Machine) -> None:
    for block in blocks("DATABASE_SETUP.md"):
        if block.how != "elsewhere":
            machine.run(block)


@pytest.mark.timeout(400)
def test_every_command_of_the_migration_guide_works(machine: Machine) -> None:
    machine.shell("createuser --createdb chatuser && createdb --owner=chatuser chatdb")
    with psycopg.connect(f"postgresql://chatuser@127.0.0.1:{machine.port}/chatdb") as connection:
        connection.execute(ORIGINAL.read_text(encoding="utf-8").replace(":messages", "500"))
    machine.configure("DATABASE_URL=postgresql://chatuser:a-long-password@localhost:5432/chatdb\n")
    for block in blocks("MIGRATION.md"):
        if block.how != "elsewhere":
            machine.run(block)


@pytest.mark.process
@pytest.mark.timeout(400)
def test_every_command_of_the_tutorial_works(server_folder: Path) -> None:
    """On a busy machine a measurement may end as INVALID (status 2), which is no fault of the tutorial."""
    machine = Machine(server_folder, wheel_programs(), free_port())
    measured = re.compile(r"^(chatsys (?:bench --profile|loadtest) .*)$", re.MULTILINE)
    found = [block for block in blocks("TUTORIAL.md") if block.how != "elsewhere"]
    assert len(found) >= 4
    for block in found:
        machine.run(block._replace(text=measured.sub(r"\1 || test $? = 2", block.text)))
    assert (server_folder / "first-run" / "index.html").exists()
    assert (server_folder / "measured" / "notebooks").is_dir()


@pytest.mark.process
@pytest.mark.parametrize("page", [*PAGES, "TUTORIAL.md", "DEPLOY.md"])
def test_commands_for_other_machines_are_valid_shell_and_exist(page: str) -> None:
    found = [block for block in blocks(page) if block.how == "elsewhere"]
    assert found
    for block in found:
        script = re.sub(r"^0 2 \* \* \* ", "", block.text)
        subprocess.run(["bash", "-n", "-c", script], check=True)
        for words in re.findall(r"chatsys ((?:db )?[a-z]+)", script):
            assert words in commands()


def commands() -> set[str]:
    """Return every command of chatsys."""
    direct = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    groups = {str(group.name) for group in app.registered_groups}
    nested = {
        f"{group.name} {command.name or command.callback.__name__}"
        for group in app.registered_groups
        if group.typer_instance
        for command in group.typer_instance.registered_commands
        if command.callback
    }
    return direct | groups | nested


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_shown_in_the_pages_is_valid(page: str, tmp_path: Path) -> None:
    for block in blocks(page):
        for line in block.text.splitlines() if block.kind == "env" else ():
            name, _, value = line.partition("=")
            settings = read_settings(environ={name: value}, folder=tmp_path)
            if name == "DATABASE_URL":
                assert all(host in value for host in read_url(settings.database_url or "").host.split(", "))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_named_in_a_sentence_exists(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`chatsys ((?:db )?[a-z]+)", text))
    assert named
    assert {words for words in named if words not in commands()} == set()


def test_troubleshooting_has_a_row_for_each_database_error() -> None:
    text = (DOCS / "MIGRATION.md").read_text(encoding="utf-8")
    missing = [kind.code for kind in family(errors.StoreError) if f"`{kind.code}`" not in text]
    assert missing == []


def family(kind: type[errors.StoreError]) -> Iterator[type[errors.StoreError]]:
    """Return the class and all its subclasses."""
    yield kind
    for below in kind.__subclasses__():
        yield from family(below)
