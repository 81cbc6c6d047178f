"""chatsys verify runs the guide's checklist for real, and fails where something does not work."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

import pytest

from chatsys.cli.checklist import STEPS, Checked, attempt
from tests.conftest import free_port
from tests.db.conftest import Server, as_role, chatsys, role, rows, run

NAMES = [name for name, _, _ in STEPS]


@pytest.mark.timeout(300)
def test_every_step_passes_and_nothing_is_left_behind(server: Server) -> None:
    done = chatsys("verify", "--database-url", server.url)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = [line.split("✓")[1].rsplit(maxsplit=2)[0].strip() for line in done.stdout.splitlines() if "✓" in line]
    assert shown == NAMES
    assert done.stdout.endswith("Everything works. Next: `chatsys serve` starts the server.\n")
    deadline = time.monotonic() + 60
    while rows(server.url, "SELECT 1 FROM pg_database WHERE datname LIKE 'chatsys_scratch%'"):
        assert time.monotonic() < deadline, "a scratch database stays"  # one of a test beside this one goes soon
        time.sleep(0.2)


def test_it_stops_at_the_first_step_that_fails_and_says_what_helps(server: Server) -> None:
    with role(server) as name:
        done = chatsys("verify", "--database-url", as_role(server.url, name))
    assert done.returncode == 1
    assert "✓  PostgreSQL is reachable" in done.stdout
    assert "✗  A database can be created" in done.stdout
    assert NAMES[2] not in done.stdout
    assert f"ALTER ROLE {name} CREATEDB" in done.stderr


def test_a_script_reads_an_object_for_each_check(server: Server) -> None:
    with role(server) as name:
        done = chatsys("verify", "--format", "json", "--database-url", as_role(server.url, name))
    assert done.returncode == 1
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["check"], first["error"]) == (NAMES[0], None)
    assert first["seconds"] >= 0
    assert second["check"] == NAMES[1]
    assert "may not create a scratch database" in second["error"]


@pytest.mark.process
def test_a_server_that_is_not_there_fails_the_first_step() -> None:
    done = chatsys("verify", "--database-url", f"postgresql://ann@127.0.0.1:{free_port()}/chat")
    assert done.returncode == 1
    assert "✗  PostgreSQL is reachable" in done.stdout
    assert "Start PostgreSQL" in done.stderr


@pytest.mark.timeout(300)
def test_a_message_that_was_lost_fails_the_step_of_the_restart(postgres_server: Server) -> None:
    with ExitStack() as resources:
        state = Checked(url=postgres_server.url, resources=resources)
        for name, step, helps in STEPS[: NAMES.index("Messages persist after a restart")]:
            assert attempt(state, name, step, helps) is None
        run(state.scratch, "DELETE FROM messages")
        failed = attempt(state, *STEPS[NAMES.index("Messages persist after a restart")])
        assert failed is not None
        assert "is not among the 0 of the room's history" in failed.message
        failed = attempt(state, *STEPS[NAMES.index("Read receipts work")])
        assert failed is not None
