"""Who is dead, as one server sees it: judged with its own clock and with what is known of processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from chatsys.store.postgres.liveness import Liveness, Other

LEASE, BEAT = 8.0, 2.0
START = datetime(2031, 1, 1, tzinfo=UTC)


class Watch:
    """A server that judges one other. ``running`` is what its machine knows of the other's process."""

    def __init__(self, running: bool | None = None) -> None:
        self.now = 100.0
        self.lease_until = START
        self._liveness = Liveness(LEASE, lambda process: running)

    def beat(self, after: float = BEAT, *, renews: bool = False) -> str:
        """A heartbeat ``after`` seconds; what becomes of the other, which ``renews`` its lease first or does not."""
        self.now += after
        self.lease_until += timedelta(seconds=renews)
        self._liveness.renewed(self.now)
        dead = self._liveness.judge([Other("other", self.lease_until, "its process")], self.now)
        return "gone" if dead.gone else "silent" if dead.silent else "alive"

    def miss(self, after: float = 1.0) -> None:
        """A heartbeat that the database did not take."""
        self.now += after
        self._liveness.missed()


@pytest.fixture
def steady() -> Watch:
    """A server that has missed nothing for long, beside another that was silent until now."""
    watch = Watch()
    for _ in range(10):
        assert watch.beat(renews=True) == "alive"
    return watch


def test_a_server_that_falls_silent_is_dead_within_a_lease(steady: Watch) -> None:
    assert [steady.beat() for _ in range(4)] == ["alive", "alive", "silent", "silent"]


def test_a_server_that_renews_its_lease_late_is_alive(steady: Watch) -> None:
    assert [steady.beat(), steady.beat(), steady.beat(renews=True), steady.beat()] == ["alive"] * 4


def test_a_server_that_has_just_started_waits_for_a_lease() -> None:
    watch = Watch()
    assert [watch.beat() for _ in range(5)] == ["alive"] * 4 + ["silent"]


def test_a_server_that_missed_a_heartbeat_takes_nobody_for_dead_for_a_lease(steady: Watch) -> None:
    steady.beat()
    steady.miss()
    assert [steady.beat(1.0), *(steady.beat() for _ in range(4))] == ["alive"] * 4 + ["silent"]


def test_a_server_that_stood_still_takes_nobody_for_dead_for_a_lease(steady: Watch) -> None:
    assert [steady.beat(20.0), *(steady.beat() for _ in range(4))] == ["alive"] * 4 + ["silent"]


def test_a_clock_of_the_database_that_jumps_makes_nobody_dead(steady: Watch) -> None:
    steady.lease_until -= timedelta(days=1)
    assert steady.beat() == "alive"
    assert steady.beat(renews=True) == "alive"


def test_a_process_that_is_gone_is_dead_at_once() -> None:
    assert Watch(running=False).beat() == "gone"


def test_a_process_that_runs_is_alive_however_silent() -> None:
    watch = Watch(running=True)
    assert [watch.beat() for _ in range(20)] == ["alive"] * 20
