"""One wheel pings every connection in time, and gives up those that do not answer."""

from __future__ import annotations

import pytest

from chatsys.engine.wheel import TimerWheel

from .conftest import FakeLoop


class Peer:
    """A connection that records at which tick it was pinged or given up."""

    def __init__(self, answers: bool) -> None:
        self.closing = False
        self.ponged = True
        self.answers = answers
        self.pings: list[int] = []
        self.gone: int | None = None
        self.tick = 0

    def ping(self) -> None:
        self.pings.append(self.tick)
        self.ponged = self.answers

    def timed_out(self) -> None:
        self.gone, self.closing = self.tick, True


def advance(loop: FakeLoop, peers: list[Peer], ticks: int) -> None:
    """Let the wheel advance by ``ticks`` steps without waiting for them."""
    for _ in range(ticks):
        for peer in peers:
            peer.tick += 1
        loop.pass_time(loop.next_due() - loop.time())


def test_wheel_pings_live_peers_and_gives_up_dead_ones_after_the_timeout(
    loop: FakeLoop,
) -> None:
    wheel = TimerWheel(25, 20, loop)
    wheel.start()
    live, dead = Peer(answers=True), Peer(answers=False)
    wheel.add(live)
    wheel.add(dead)
    advance(loop, [live, dead], 100)
    assert live.pings == [24, 48, 72, 96]
    assert live.gone is None
    assert dead.pings == [24]
    assert dead.gone == 44


def test_interval_shorter_than_the_timeout_still_pings(loop: FakeLoop) -> None:
    wheel = TimerWheel(1, 3, loop)
    wheel.start()
    peer = Peer(answers=True)
    wheel.add(peer)
    advance(loop, [peer], 200)
    assert len(peer.pings) >= 3
    assert peer.gone is None


@pytest.mark.parametrize("answers", [True, False])
def test_closed_peer_is_forgotten(loop: FakeLoop, answers: bool) -> None:
    wheel = TimerWheel(2, 2, loop)
    wheel.start()
    peer = Peer(answers)
    wheel.add(peer)
    peer.closing = True
    advance(loop, [peer], 100)
    assert peer.pings == []
    assert all(not slot for slot in wheel._pings + wheel._pongs)


def test_watched_connection_is_checked_each_tick_until_its_deadline_is_gone(loop: FakeLoop) -> None:
    checked: list[float] = []

    class Deadline:
        def check(self, now: float) -> bool:
            checked.append(now)
            return len(checked) < 3

    wheel = TimerWheel(25, 20, loop)
    wheel.start()
    wheel.watch(Deadline())
    advance(loop, [], 10)
    assert checked == [1.0, 2.0, 3.0]
