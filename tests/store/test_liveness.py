"""Which other server one server considers dead, by its own clock and by its knowledge of processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from chatsys.store.postgres.liveness import Liveness, Other

LEASE, BEAT = 8.0, 2.0
START = datetime(2031, 1, 1, tzinfo=UTC)


class Watch:
    """A server that judges one other server. ``running`` is what its machine knows about the other's process."""

    def __init__(self, running: bool | None = None) -> None:
        self.now = 100.0
        self.lease_until = START
        self._liveness = Liveness(LEASE, lambda process: running)

    def beat(self, after: float = BEAT, *, renews: bool = False) -> str:
        """Beat after ``after`` seconds; return the state of the other, which ``renews`` its lease first or does not."""
        self.now += after
        self.lease_until += timedelta(seconds=renews)
        self._liveness.renewed(self.now)
        dead = self._liveness.judge([Other("other", self.lease_until, "its process")], self.now)
        return "gone" if dead.gone else "silent" if dead.silent else "alive"

    def miss(self, after: float = 1.0) -> None:
        """Send a heartbeat that fails at the database."""
        self.now += after
        self._liveness.missed()


@pytest.fixture
def steady() -> Watch:
    """A server that has missed nothing for long, and another that has renewed its lease until now."""
    watch = Watch()
    for _ in range(10):
        assert watch.beat(renews=True) == "alive"
    return watch


def test_silent_server_is_dead_within_a_lease(steady: Watch) -> None:
    assert [steady.beat() for _ in range(4)] == ["alive", "alive", "silent", "silent"]


def test_server_that_renews_its_lease_late_is_alive(steady: Watch) -> None:
    assert [steady.beat(), steady.beat(), steady.beat(renews=True), steady.beat()] == ["alive"] * 4


def test_server_that_has_just_started_waits_for_a_lease() -> None:
    watch = Watch()
    assert [watch.beat() for _ in range(5)] == ["alive"] * 4 + ["silent"]


def test_server_declares_none_dead_for_a_lease_after_a_missed_heartbeat(steady: Watch) -> None:
    steady.beat()
    steady.miss()
    assert [steady.beat(1.0), *(steady.beat() for _ in range(4))] == ["alive"] * 4 + ["silent"]


def test_server_declares_none_dead_for_a_lease_after_a_pause(steady: Watch) -> None:
    assert [steady.beat(20.0), *(steady.beat() for _ in range(4))] == ["alive"] * 4 + ["silent"]


def test_jump_of_the_database_clock_makes_no_server_dead(steady: Watch) -> None:
    steady.lease_until -= timedelta(days=1)
    assert steady.beat() == "alive"
    assert steady.beat(renews=True) == "alive"


def test_server_whose_process_is_gone_is_dead_at_once() -> None:
    assert Watch(running=False).beat() == "gone"


def test_server_whose_process_runs_is_alive_even_if_silent() -> None:
    watch = Watch(running=True)
    assert [watch.beat() for _ in range(20)] == ["alive"] * 20
