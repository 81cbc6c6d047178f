"""What the load user promises and records in Locust's table: each case gets the address of a stock server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import gevent
from locust import constant, task
from locust.env import Environment
from locust.stats import StatsEntry, get_percentile_stats_summary

from chatsys.loadtesting.figures import ALL_PUSHES
from chatsys.loadtesting.socketio_user import CLOCKS_DIFFER, FIGURES, SocketIOUser
from tests.loadtests.cases.client import _error, _eventually, _proxy


class _User(SocketIOUser):
    """Connect and wait."""

    abstract = True
    wait_time = constant(1)

    def on_start(self) -> None:
        self.connect()

    @task
    def look_on(self) -> None:
        pass


@contextmanager
def _running(address: str, kind: type[SocketIOUser] = _User, users: int = 1) -> Iterator[tuple[Environment, list[Any]]]:
    """Run this many users of a kind in Locust; check that all have stopped at the end."""
    made: list[Any] = []

    class Subject(kind):  # type: ignore[valid-type]
        def __init__(self, environment: Environment) -> None:
            super().__init__(environment)
            made.append(self)

    environment = Environment(user_classes=[Subject], host=address)
    environment.create_local_runner()
    FIGURES.attach(environment)
    environment.runner.start(users, spawn_rate=100)
    try:
        _eventually(lambda: len(made) == users)
        yield environment, made
    finally:
        with gevent.Timeout(30):
            environment.runner.quit()
            FIGURES.flush()


def _row(environment: Environment, method: str, name: str) -> StatsEntry:
    FIGURES.flush()
    return environment.stats.entries[name, method]


def _count(environment: Environment, method: str, name: str) -> int:
    return _row(environment, method, name).num_requests


def refused_first_connection_is_retried_and_counted(address: str) -> None:
    left = [503] * 5
    with (
        _proxy(address, refuse=lambda _: bool(left and left.pop())) as proxy,
        _running(proxy, users=10) as (environment, users),
    ):
        _eventually(lambda: all(user.io.connected for user in users))
        row = _row(environment, "connect", "websocket")
        assert (row.num_requests - row.num_failures, row.num_failures) == (10, 5)
        (error,) = environment.stats.errors.values()
        assert "503" in str(error.error)


def refusal_ends_the_user_and_is_not_retried(address: str) -> None:
    class Refused(_User):
        abstract = True
        auth: ClassVar = {"refuse": True}

    with _running(address, Refused) as (environment, _):
        _eventually(lambda: environment.runner.user_count == 0)
        assert _row(environment, "connect", "websocket").num_failures == 1


def user_that_can_not_connect_stops_with_the_run(_address: str) -> None:
    with _running("http://127.0.0.1:9") as (environment, _):
        _eventually(lambda: _row(environment, "connect", "websocket").num_failures)


def time_without_a_connection_is_a_row(address: str) -> None:
    with _running(address) as (environment, (user,)):
        _eventually(lambda: user.io.connected)
        user.emit("drop")
        _eventually(lambda: _count(environment, "reconnect", "websocket"))
        assert _row(environment, "reconnect", "websocket").min_response_time > 400
        assert _count(environment, "connect", "websocket") == 1
        assert user.call("echo", 1) == 1


def upgrade_is_a_row(address: str) -> None:
    class Browser(_User):
        abstract = True
        transport = "upgrade"

    with _running(address, Browser) as (environment, _):
        _eventually(lambda: _count(environment, "upgrade", "websocket"))
        assert _count(environment, "connect", "upgrade") == 1


def call_returns_one_value_or_a_tuple_of_several(address: str) -> None:
    with _running(address) as (environment, (user,)):
        _eventually(lambda: user.io.connected)
        assert user.call("echo", [1, 2]) == [1, 2]
        assert user.call("two") == (None, {"ok": True})
        assert user.call("nothing") is None
        assert user.call("bytes_of", b"12345") == ["bytes", 5]
        other = user.io.of("/other")
        other.connect()
        assert user.call("echo", 1, via=other) == ["other", 1]
        assert _row(environment, "ack", "two").num_failures == 0


def push_from_a_sender_with_a_fast_clock_is_a_failure(address: str) -> None:
    with _running(address) as (environment, (user,)):
        _eventually(lambda: user.io.connected)
        seen: list[object] = []
        user.io.on("shouted", user.timed_push("shouted", "sentAt", then=seen.append))
        for ahead in (5.0, -1.0):
            user.emit("shout", {"sentAt": (time.time() + ahead) * 1000})
        _eventually(lambda: len(seen) == 2)
        row = _row(environment, "push", "shouted")
        assert (row.num_requests, row.num_failures) == (2, 1)
        assert sum(row.response_times.values()) == 1
        assert row.min_response_time >= 1000
        (error,) = environment.stats.errors.values()
        assert error.error == CLOCKS_DIFFER


def all_pushes_share_one_row_and_the_total_has_each_once(address: str) -> None:
    with _running(address) as (environment, _):
        for name, times in (("a", [1.0, 2.0]), ("b", [3.0]), ("b (service)", [0.5])):
            for ms in times:
                FIGURES.timing("push", name).add(ms)
        everything = _row(environment, "push", ALL_PUSHES)
        assert dict(everything.response_times) == {1.0: 1, 2.0: 1, 3.0: 1}
        rows = [entry for key, entry in environment.stats.entries.items() if key[0] != ALL_PUSHES]
        assert environment.stats.total.num_requests == sum(row.num_requests for row in rows)


def open_loop_counts_from_the_time_a_message_was_due(address: str) -> None:
    for arrival in ("constant", "poisson"):
        with _running(address) as (environment, (user,)):
            _eventually(lambda user=user: user.io.connected)
            numbers = iter(range(10_000))
            sending = user.send("echo", lambda numbers=numbers: next(numbers), rate=100, arrival=arrival)
            _eventually(lambda environment=environment: _count(environment, "ack", "echo"))
            until = time.perf_counter() + 0.4
            while time.perf_counter() < until:  # the generator itself is late: some 40 messages of 200 ms each
                pass
            _eventually(lambda environment=environment: _count(environment, "ack", "echo") >= 60)
            sending.kill()
            response, service = (_row(environment, "ack", name) for name in ("echo", "echo (service)"))
            assert response.num_requests == service.num_requests
            assert response.max_response_time >= 300
            assert response.total_response_time - service.total_response_time > 2000


def open_loop_does_not_wait_for_a_silent_server(address: str) -> None:
    class Impatient(_User):
        abstract = True
        timeout = 2.0

    with _running(address, Impatient) as (environment, (user,)):
        _eventually(lambda: user.io.connected)
        user.send("silent", 1, rate=50)
        _eventually(lambda: _row(environment, "ack", "silent").num_failures >= 20)
        assert _count(environment, "ack", "silent (service)") == 0
        assert _error(lambda: user.send("echo", rate=0), ValueError).startswith("0 a second")
        assert "sometimes" in _error(lambda: user.send("echo", rate=1, arrival="sometimes"), ValueError)


def percentiles_stand_under_their_headings(address: str) -> None:
    with _running(address) as (environment, (user,)):
        _eventually(lambda: user.io.connected)
        for hundredth in range(1, 10_001):
            FIGURES.timing("ack", "hello").add(hundredth / 100)
        for _ in range(3):
            FIGURES.failure("ack", "hello", "no acknowledgement in 10 s")
        FIGURES.flush()
        _, headings, _, *rows = get_percentile_stats_summary(environment.stats)
        (row,) = (row for row in rows if " hello " in row)
        cut = headings.index("Name") + len("Name")
        shown = dict(zip(headings[cut:].replace("# reqs", "count").split(), row.split()[2:], strict=True))
        entry = _row(environment, "ack", "hello")
        for heading, share in (("50%", 0.5), ("99%", 0.99), ("99.99%", 0.9999), ("100%", 1.0)):
            assert shown[heading] == f"{entry.get_response_time_percentile(share):.2f}"
        assert shown["count"] == "10003"
        median = shown["50%"]
        assert row.index(median) + len(median) == headings.index("50%") + len("50%")
