"""The measurement of buses: what clients on several servers time, what is subtracted, and how it is reported."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from chatsys.errors import OperatorError
from chatsys.lab.clients import scenarios
from chatsys.lab.clients.sockets import RawClients
from chatsys.lab.experiments import buses
from chatsys.lab.experiments.buses import Arrangement, BusRepetition
from chatsys.lab.provenance.clock import cpu_nanoseconds
from chatsys.lab.record import Count, Point, Result
from chatsys.lab.report.buses import answers, parts
from chatsys.lab.subjects import brokers
from chatsys.lab.subjects.brokers import running_broker
from chatsys.lab.subjects.servers import ServerProcess, chat_server, start_all
from chatsys.results.run import Interval


@pytest.fixture
def pair(postgres_url: str) -> Iterator[list[ServerProcess]]:
    with ExitStack() as stack:
        yield start_all(stack, [chat_server(postgres_url, settings={"DB_POOL_SIZE": "7"}) for _ in range(2)])


def test_relay_times_members_on_other_servers(pair: list[ServerProcess]) -> None:
    with RawClients(pair[0].url) as clients:
        scenario = scenarios.relay(clients, others=[pair[1].url], rate=50)
        next(scenario)
        got = scenario.send({"seconds": 0.5})
    assert [got[fault] for fault in ("lost", "doubled", "swapped")] == [0, 0, 0]
    assert len(got["latency_us"]) == len(got["elsewhere_us"]) == len(got["between_us"]) == got["starts"] == 25
    for here, there, between in zip(got["latency_us"], got["elsewhere_us"], got["between_us"], strict=True):
        assert between == there - here
    assert buses._received(pair[1:]) >= 25
    assert buses._received(pair[:1]) < 25


def test_cpu_time_is_counted_and_is_zero_for_a_missing_process() -> None:
    before, spent = cpu_nanoseconds([os.getpid()]), time.process_time() + 0.05
    while time.process_time() < spent:
        pass
    assert cpu_nanoseconds([os.getpid()]) - before >= 40_000_000
    assert cpu_nanoseconds([2**22 + 1]) == 0


@pytest.mark.process
@pytest.mark.parametrize(
    ("program", "said"), [("no-such-program", "there is no no-such-program"), ("false", "did not start")]
)
def test_broker_that_can_not_be_started_says_why(monkeypatch: pytest.MonkeyPatch, program: str, said: str) -> None:
    monkeypatch.setattr(brokers, "BROKERS", {"Redis": brokers._Kind(program, "redis", ())})
    with pytest.raises(OperatorError, match=said), running_broker("Redis", None):
        pass


@pytest.mark.process
@pytest.mark.parametrize("name", list(brokers.BROKERS))
def test_broker_ends_with_its_block(name: str) -> None:
    with running_broker(name, None) as broker:
        assert cpu_nanoseconds([broker.pid]) > 0
    assert cpu_nanoseconds([broker.pid]) == 0


def server(pid: int) -> ServerProcess:
    made = ServerProcess.__new__(ServerProcess)
    made.popen = type("Process", (), {"pid": pid})()
    return made


def test_idle_use_of_a_server_is_subtracted() -> None:
    one, two = Arrangement("", 1, (server(1),), None), Arrangement("NOTIFY", 1, (server(2), server(3)), None)
    got = {"starts": 100, "latency_us": [1.0], "elsewhere_us": [], "between_us": []}
    repetitions = [
        BusRepetition(0, one, got, {1: 0.5, 2: 0.02, 3: 0.01, 9: 0.1}, 2.0, 0),
        BusRepetition(0, two, got, {1: 0.04, 2: 0.31, 3: 0.005, 9: 0.3}, 1.0, 0),
    ]
    found = buses._figures([repetitions[1]], repetitions)
    assert found[buses.SENDER_CPU] == pytest.approx([3_000])
    assert found[buses.OTHER_CPU] == pytest.approx([0])
    assert found[buses.DATABASE_CPU] == pytest.approx([3_000])
    assert buses.MEMBER_CPU not in found


@pytest.fixture
def measured() -> Result:
    """A run without NATS."""
    result = Result(id="x", created_at="", profile="quick", seed=1, environment={}, parameters={})
    result.limited("NATS was not run as a bus: there is no nats-server on this machine.")

    def point(subject: str, size: int, metric: str, value: float) -> None:
        rounds, interval = (value - 1, value, value + 1), Interval(value - 2, value + 2)
        figures = {"experiment": buses.NAME, "x": size, "unit": "µs", "n": 3, "rounds": rounds, "interval": interval}
        result.points.append(Point(subject=subject, metric=metric, value=value, **figures))

    point(buses.ALONE, 1, buses.SENDER_CPU, 400)
    for bus in ("NOTIFY", "Redis"):
        point(f"{bus}, {buses.APART}", 2, buses.SENDER_CPU, 401)
        point(f"{bus}, {buses.APART}", 2, buses.OTHER_CPU, 1 if bus == "Redis" else 30)
        point(f"{bus}, {buses.SHARED}", 2, buses.SENDER_CPU, 480)
        point(f"{bus}, {buses.SHARED}", 2, f"{buses.DELAY} p50", 900)
        point(f"{bus}, {buses.SHARED}", 2, f"{buses.DELAY} p99", 5_000)
        events = Count(
            subject=f"2 servers, {bus}, {buses.APART}", metric=buses.IDLE_EVENTS, value=float(bus != "Redis")
        )
        result.counts.append(events)
    return result


def test_answer_names_delays_costs_and_a_bus_that_was_not_run(measured: Result) -> None:
    said = answers(measured)
    assert "Redis 900 µs (898 to 902), p99 5.00 ms (5.00 to 5.00)" in said[0]
    assert "NATS" not in "".join(said[:-1])
    assert said[-1] == "NATS was not run as a bus: there is no nats-server on this machine."
    (shared,) = [each for each in said if "members on other servers" in each]
    assert "Redis with 2 servers +80 µs" in shared


def test_answer_says_whether_servers_without_a_member_use_cpu_time(measured: Result) -> None:
    notify, redis = [each for each in answers(measured) if "without a member" in each]
    assert "received 1 events and spent processor time" in notify
    assert "received 0 events and spent no measurable processor time" in redis


def test_run_without_buses_does_not_mention_them() -> None:
    empty = Result(id="x", created_at="", profile="quick", seed=1, environment={}, parameters={})
    assert answers(empty) == []
    assert parts(empty, []) == []
