"""The simulated network between server and database, and its effect on a run's points."""

from __future__ import annotations

import socket
import threading

import pytest

from chatsys.lab.experiments.distance import ADDED
from chatsys.lab.loadtest.limits import more_generators_help, name_limits
from chatsys.lab.network.delay import delayed, round_trip, target_of, through
from chatsys.lab.runner.run import run
from chatsys.lab.workloads.operation import SEARCH, SEND, TABLE
from chatsys.results.capacity import FAILED, HELD, LATENCY, NOT_MEASURABLE, SERVER
from chatsys.results.run import held, operation, points
from tests.lab.test_run import TINY, request_for


@pytest.fixture
def quiet(monkeypatch):
    """A machine without other load."""
    monkeypatch.setattr("chatsys.lab.provenance.machine.MachineWatch.reasons", lambda _: [])


@pytest.mark.process
@pytest.mark.parametrize("seconds", [0.0, 0.002, 0.01])
def test_round_trip_takes_twice_the_delay_at_least(seconds):
    assert round_trip(seconds) >= 2 * seconds


@pytest.mark.process
def test_proxy_passes_data_completely_in_order_and_then_the_end():
    sent = bytes(range(256)) * 2_000
    with socket.create_server(("127.0.0.1", 0)) as listener:
        got = []

        def take() -> None:
            far, _ = listener.accept()
            with far:
                while piece := far.recv(65_536):
                    got.append(piece)
                far.sendall(b"bye")

        taking = threading.Thread(target=take)
        taking.start()
        with delayed(f"127.0.0.1:{listener.getsockname()[1]}", 0.001) as port:
            with socket.create_connection(("127.0.0.1", port), 5) as near:
                near.sendall(sent)
                near.shutdown(socket.SHUT_WR)
                assert near.recv(3) == b"bye"
                assert near.recv(1) == b""
            taking.join(10)
    assert b"".join(got) == sent


def test_database_keeps_its_name_and_user_behind_the_proxy():
    assert through("postgresql://ann:pw@/chat?host=/run/pg&port=5433&application_name=a", 1234) == (
        "postgresql://ann:pw@127.0.0.1:1234/chat?application_name=a"
    )
    assert through("postgresql://db.example/chat", 1234) == "postgresql://127.0.0.1:1234/chat"
    assert target_of("postgresql://ann@/chat?host=/run/pg&port=5433") == "/run/pg/.s.PGSQL.5433"
    assert target_of("postgresql://ann@db.example:5433/chat") == "db.example:5433"


async def test_every_operation_has_a_point_at_each_distance(lab_server, tmp_path, quiet):
    result, samples = await run(request_for(lab_server, tmp_path, only=("distance",)), lambda *_: None)
    assert result.valid, result.reasons
    for name in (*TABLE, f"{SEND} x64"):
        found = points(result, "distance", "p50", name)
        assert len(found) == len(ADDED)
        assert [point.x for point in found] == sorted(point.x for point in found)
        if name != f"{SEND} x64":
            assert found[-1].value >= 1e6 * ADDED[-1]  # at least one round trip
    assert found[0].x >= 0
    assert {sample.subject for sample in samples} == {"0 ms", "0.5 ms", "1 ms", "2 ms"}


async def test_client_finds_the_same_recorded_number_of_rows_on_both_servers(lab_server, tmp_path, quiet):
    only = ("endpoints", "push")
    result, _ = await run(request_for(lab_server, tmp_path, only=only), lambda *_: None)
    assert not [reason for reason in result.reasons if "load generator" not in reason]
    for store in ("memory", "postgresql"):
        found = operation(result, SEARCH, store, "http")
        assert found is not None
        assert held(result, found) == f"{TINY.users} users and {TINY.users // 20} messages"
        assert points(result, "push", "p50", store)[0].x == max(TINY.members)


def test_generators_are_added_only_if_the_generator_was_the_limit(monkeypatch):
    monkeypatch.setattr("chatsys.lab.loadtest.limits._cpus", lambda: 4)
    step = {"users": 100, "failures": 0, "deviations": 0}
    held_step, unknown = step | {"outcome": HELD}, step | {"users": 200, "outcome": NOT_MEASURABLE}
    assert more_generators_help([held_step, unknown], 1)
    assert more_generators_help([held_step, unknown], 2)
    assert not more_generators_help([held_step, unknown], 4)
    assert not more_generators_help([held_step], 1)
    assert not more_generators_help([held_step, unknown, step | {"users": 150, "outcome": FAILED}], 1)


def test_failed_step_names_the_server_that_used_its_whole_processor(tmp_path):
    (tmp_path / "samples.jsonl").write_text(
        '{"time": 10.0, "users": 50, "generators": {"a": {"cpu": 0.2}}}\n'
        '{"time": 11.0, "users": 99, "generators": {"a": {"cpu": 0.2}}}\n'
    )
    (tmp_path / "server.jsonl").write_text('{"time": 10.1, "cpu": 0.3}\n{"time": 11.1, "cpu": 0.97}\n')
    steps = [
        {"users": users, "outcome": outcome, "limit": LATENCY if outcome == FAILED else ""}
        for users, outcome in ((50, HELD), (99, FAILED), (70, FAILED))
    ]
    name_limits(steps, tmp_path)
    assert [step["limit"] for step in steps] == ["", SERVER, LATENCY]
