"""chatsys verify really runs the guide's checklist, and fails where something does not work."""

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
def test_verify_passes_every_step_and_leaves_nothing_behind(server: Server) -> None:
    done = chatsys("verify", "--database-url", server.url)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = [line.split("✓")[1].rsplit(maxsplit=2)[0].strip() for line in done.stdout.splitlines() if "✓" in line]
    assert shown == NAMES
    assert done.stdout.endswith("Everything works. Next: `chatsys serve` starts the server.\n")
    deadline = time.monotonic() + 60
    while rows(server.url, "SELECT 1 FROM pg_database WHERE datname LIKE 'chatsys_scratch%'"):
        # the scratch database of another test disappears soon
        assert time.monotonic() < deadline, "a scratch database stays"
        time.sleep(0.2)


def test_verify_stops_at_the_first_failing_step_and_names_the_remedy(server: Server) -> None:
    with role(server) as name:
        done = chatsys("verify", "--database-url", as_role(server.url, name))
    assert done.returncode == 1
    assert "✓  PostgreSQL is reachable" in done.stdout
    assert "✗  A database can be created" in done.stdout
    assert NAMES[2] not in done.stdout
    assert f"ALTER ROLE {name} CREATEDB" in done.stderr


def test_verify_gives_a_script_one_object_per_check(server: Server) -> None:
    with role(server) as name:
        done = chatsys("verify", "--format", "json", "--database-url", as_role(server.url, name))
    assert done.returncode == 1
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["check"], first["error"]) == (NAMES[0], None)
    assert first["seconds"] >= 0
    assert second["check"] == NAMES[1]
    assert "may not create a scratch database" in second["error"]


@pytest.mark.process
def test_unreachable_server_fails_the_first_step() -> None:
    done = chatsys("verify", "--database-url", f"postgresql://ann@127.0.0.1:{free_port()}/chat")
    assert done.returncode == 1
    assert "✗  PostgreSQL is reachable" in done.stdout
    assert "Start PostgreSQL" in done.stderr


@pytest.mark.timeout(300)
def test_lost_message_fails_the_restart_step(postgres_server: Server) -> None:
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
