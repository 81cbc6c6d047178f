"""The command line: help, version, colours, and errors as sentences."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import chatsys
from chatsys import errors
from chatsys.cli import app
from chatsys.cli.errors import sentences
from chatsys.cli.help import EXAMPLES, folded
from tests.db.conftest import chatsys as in_process

HEAVY = ["asyncpg", "fastapi", "uvicorn", "socketio", "pandas", "matplotlib", "sqlalchemy", "alembic", "scipy", "numpy"]


def chatsys_cli(*arguments: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("CHATSYS_", "NO_COLOR"))}
    return subprocess.run(
        [sys.executable, "-m", "chatsys", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**clean, **environ},
        timeout=60,
        check=False,
    )


@pytest.mark.process
def test_help_lists_the_sub_commands(tmp_path):
    found = chatsys_cli("--help", folder=tmp_path)
    assert found.returncode == 0
    assert "serve" in found.stdout
    assert "--install-completion" in found.stdout


def every_command(command: Any = None, words: str = "") -> dict[str, Any]:
    """Return each command and group as its words."""
    command = command or typer.main.get_command(app)
    below = [every_command(each, f"{words} {name}".strip()) for name, each in getattr(command, "commands", {}).items()]
    return {words: command} | {name: each for part in below for name, each in part.items()}


@pytest.mark.parametrize("words", every_command())
def test_help_of_each_command_is_short_to_ask_for_and_has_examples(words):
    for columns in ("60", "80", "120"):
        shown = in_process(*words.split(), "-h", COLUMNS=columns)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "\n  Examples:\n    chatsys" in shown.stdout
        assert max(map(len, shown.stdout.splitlines())) <= int(columns)
        assert [line for line in shown.stdout.splitlines() if line.endswith("...") and "[ARGS]" not in line] == []
    assert shown.stdout == in_process(*words.split(), "--help", COLUMNS="120").stdout


@pytest.mark.parametrize("words", every_command())
def test_help_shows_brackets_and_no_type_names_of_the_library(words):
    shown = in_process(*words.split(), "-h", COLUMNS="80").stdout
    assert shown.count("embedded://") == shown.count("embedded://[path]")
    assert [leak for leak in ("<str>", "<int", "<float", "<bool>", "<path>", "{", "\x1b") if leak in shown] == []


def test_folded_example_is_the_same_command_to_a_shell():
    example = EXAMPLES["migrate"][0]
    lines = folded(example, 60).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 60
    joined = "\n".join(lines).replace("\\\n", " ")
    assert shlex.split(joined) == shlex.split(example)


def test_examples_name_commands_and_options_that_exist():
    known = every_command()
    assert EXAMPLES.keys() <= known.keys()
    for words, lines in EXAMPLES.items():
        for line in lines:
            for part in line.split("&&"):
                _, *rest = part.split()
                named = max((name for name in known if rest[: len(name.split())] == name.split()), key=len)
                options = {option for each in known[named].params for option in each.opts}
                assert {word for word in rest if word.startswith("--")} <= options, f"{words}: {line}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["srve"], "Did you mean 'serve'?"),
        (["db", "bakup"], "Did you mean 'backup'?"),
        (["monitor", "pulse", "--format", "xml"], "'xml' is not one of 'table', 'json'"),
        (["db", "restore"], "Missing argument 'FILE'."),
        (["monitor", "growth", "--days", "abc"], "Invalid value for '--days': 'abc' is not a whole number."),
        (["monitor", "growth", "--days", "0"], "Invalid value for '--days': '0' is less than 1."),
        (["top", "--every", "fast"], "Invalid value for '--every': 'fast' is not a number."),
        (["loadtest", "--receipts", "2"], "Invalid value for '--receipts': '2' is more than 1.0."),
    ],
)
def test_wrong_usage_is_explained_and_names_the_help(arguments, said):
    found = in_process(*arguments)
    assert found.returncode == 2
    assert found.stderr.startswith("Error: ")
    assert said in found.stderr
    assert [leak for leak in ("Value error", "Input should") if leak in found.stderr] == []
    assert found.stderr.rstrip().endswith(" -h")


@pytest.mark.parametrize(
    "arguments",
    [["monitor"], ["db", "status"], ["db", "backup", "x.dump"], ["db", "migrate"], ["db", "reset"],
     ["db", "cleanup", "--messages-older-than", "1d"], ["export", "x.snapshot"]],
    ids=" ".join,
)  # fmt: skip
def test_command_that_only_reads_creates_nothing_in_an_empty_folder(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    found = in_process(*arguments)
    assert found.returncode == 1
    assert "There is no database yet in .chatsys/postgres. `chatsys serve` or `chatsys db init` creates" in found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["db", "backup", "x.dump"], ["db", "status"], ["monitor"], ["export", "x"]])
def test_operator_commands_need_no_token_secret_in_production(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    said = in_process(*arguments, CHATSYS_ENV="production").stderr
    assert "JWT_SECRET" not in said
    assert "There is no database yet" in said


@pytest.mark.process
def test_unreachable_database_is_named_with_its_port():
    for arguments in (["monitor", "pulse"], ["db", "status"], ["verify"]):
        found = in_process(*arguments, "--database-url", "postgresql://ann@127.0.0.1:9/chat")
        assert found.returncode == 1
        assert "Nothing answers at the database's address 127.0.0.1:9." in found.stderr


@pytest.mark.process
def test_version_option_prints_the_package_version(tmp_path):
    found = chatsys_cli("--version", folder=tmp_path)
    assert (found.returncode, found.stdout) == (0, f"chatsys {chatsys.__version__}\n")


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system has no /proc to look at")
def test_password_in_an_argument_disappears_from_the_process_list():
    shown = "import sys; from chatsys.cli.masking import mask_passwords; mask_passwords()"
    shown += "; print(open('/proc/self/cmdline').read(), sys.argv)"
    url = "postgresql://ann:s3cr%20et@host/db"
    command = [sys.executable, "-c", shown, "--database-url", url]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    listed, _, read = found.stdout.partition("[")
    assert "s3cr" not in listed
    assert "ann:xxxxxxxxx@host" in listed
    assert url in read


@pytest.mark.process
def test_help_loads_no_heavy_library(tmp_path):
    probe = f"import sys, chatsys.cli; print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.process
@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"PORT": "80x"}, ["PORT='80x'", "a whole number from 0 to 65535"]),
        ({"CHATSYS_WORKER": "2"}, ["CHATSYS_WORKER='2'", "CHATSYS_WORKERS"]),
        ({"DATABASE_URL": "mysql://me:word@h/x"}, ["DATABASE_URL", "memory://"]),
        ({"CHATSYS_ENV": "production"}, ["JWT_SECRET", "openssl rand -hex 32"]),
        ({"JWT_SECRET": "short"}, ["JWT_SECRET", "at least 32 bytes"]),
    ],
)
def test_bad_setting_ends_the_start_with_one_sentence(tmp_path, environ, named):
    found = chatsys_cli("serve", folder=tmp_path, **environ)
    assert found.returncode == 1
    assert found.stdout == ""
    assert "Traceback" not in found.stderr
    assert "word" not in found.stderr
    assert found.stderr.startswith("Error: ")
    assert found.stderr.count("\n") == 1
    for text in named:
        assert text in found.stderr


@pytest.mark.process
def test_wrong_usage_gives_exit_status_2(tmp_path):
    assert chatsys_cli("serve", "--no-such-option", folder=tmp_path).returncode == 2
    assert chatsys_cli("srve", folder=tmp_path).returncode == 2


@pytest.mark.process
def test_no_color_is_respected(tmp_path):
    coloured = {"FORCE_COLOR": "1", "PORT": "80x"}
    assert "\x1b[" in chatsys_cli("serve", folder=tmp_path, **coloured).stderr
    assert "\x1b[3" not in chatsys_cli("serve", folder=tmp_path, **coloured, NO_COLOR="1").stderr


@pytest.mark.process
def test_ctrl_c_while_the_program_is_imported_prints_one_line(tmp_path):
    (tmp_path / "typer.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n")
    found = chatsys_cli("--version", folder=tmp_path)  # python -m searches the working folder first
    assert (found.returncode, found.stdout, found.stderr) == (130, "", "Interrupted.\n")


@pytest.mark.process
def test_shell_completion_offers_sub_commands(tmp_path):
    typed = {"COMP_WORDS": "chatsys se", "COMP_CWORD": "1"}
    found = chatsys_cli(folder=tmp_path, _CHATSYS_COMPLETE="complete_bash", **typed)
    assert found.stdout.split() == ["serve"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.DatabaseMissing("There is no database chat"), "There is no database chat."),
        (errors.OperatorError("Port 1 is taken.", hint="Try --port 2"), "Port 1 is taken. Try --port 2."),
        (errors.UserNotFound(), "User not found."),
    ],
)
def test_error_text_is_one_or_two_sentences(error, text):
    assert sentences(error) == text
