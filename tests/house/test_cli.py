"""The command line: help, version, colours, and errors as sentences."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import chatsys
from chatsys import errors
from chatsys.cli.errors import sentences

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


def test_help_lists_the_sub_commands(tmp_path):
    found = chatsys_cli("--help", folder=tmp_path)
    assert found.returncode == 0
    assert "serve" in found.stdout
    assert "--install-completion" in found.stdout


def test_the_version_is_the_package_s(tmp_path):
    found = chatsys_cli("--version", folder=tmp_path)
    assert (found.returncode, found.stdout) == (0, f"chatsys {chatsys.__version__}\n")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system has no /proc to look at")
def test_a_password_in_an_argument_does_not_stay_in_the_process_list():
    shown = "import sys; from chatsys.cli.masking import mask_passwords; mask_passwords()"
    shown += "; print(open('/proc/self/cmdline').read(), sys.argv)"
    url = "postgresql://ann:s3cr%20et@host/db"
    command = [sys.executable, "-c", shown, "--database-url", url]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    listed, _, read = found.stdout.partition("[")
    assert "s3cr" not in listed
    assert "ann:xxxxxxxxx@host" in listed
    assert url in read


def test_help_loads_none_of_the_heavy_libraries(tmp_path):
    probe = f"import sys, chatsys.cli; print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True
    )
    assert found.stdout.strip() == "[]"


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
def test_a_bad_setting_ends_the_start_with_one_sentence(tmp_path, environ, named):
    found = chatsys_cli("serve", folder=tmp_path, **environ)
    assert found.returncode == 1
    assert found.stdout == ""
    assert "Traceback" not in found.stderr
    assert "word" not in found.stderr
    assert found.stderr.startswith("Error: ")
    assert found.stderr.count("\n") == 1
    for text in named:
        assert text in found.stderr


def test_wrong_usage_is_exit_status_2(tmp_path):
    assert chatsys_cli("serve", "--no-such-option", folder=tmp_path).returncode == 2
    assert chatsys_cli("srve", folder=tmp_path).returncode == 2


def test_no_color_is_respected(tmp_path):
    coloured = {"FORCE_COLOR": "1", "PORT": "80x"}
    assert "\x1b[" in chatsys_cli("serve", folder=tmp_path, **coloured).stderr
    assert "\x1b[3" not in chatsys_cli("serve", folder=tmp_path, **coloured, NO_COLOR="1").stderr


def test_ctrl_c_while_the_program_is_still_being_read_is_no_traceback(tmp_path):
    (tmp_path / "typer.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n")
    found = chatsys_cli("--version", folder=tmp_path)  # python -m looks into the working folder first
    assert (found.returncode, found.stdout, found.stderr) == (130, "", "")


def test_sub_commands_are_completed(tmp_path):
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
def test_an_error_is_one_or_two_sentences(error, text):
    assert sentences(error) == text
