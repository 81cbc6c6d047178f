"""One wheel pings everybody in time, and gives up those who do not answer."""

from __future__ import annotations

import pytest

from chatsys.engine.wheel import TimerWheel

from .conftest import FakeLoop


class Peer:
    """A connection that notes at which tick it was pinged or given up."""

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


def turn(loop: FakeLoop, peers: list[Peer], ticks: int) -> None:
    """Let the wheel make ``ticks`` steps without waiting for them."""
    for _ in range(ticks):
        for peer in peers:
            peer.tick += 1
        loop.pass_time(loop.next_due() - loop.time())


def test_a_living_peer_is_pinged_every_interval_and_a_dead_one_given_up_after_the_timeout(
    loop: FakeLoop,
) -> None:
    wheel = TimerWheel(25, 20, loop)
    wheel.start()
    living, dead = Peer(answers=True), Peer(answers=False)
    wheel.add(living)
    wheel.add(dead)
    turn(loop, [living, dead], 100)
    assert living.pings == [24, 48, 72, 96]
    assert living.gone is None
    assert dead.pings == [24]
    assert dead.gone == 44


def test_an_interval_shorter_than_the_timeout_still_pings(loop: FakeLoop) -> None:
    wheel = TimerWheel(1, 3, loop)
    wheel.start()
    peer = Peer(answers=True)
    wheel.add(peer)
    turn(loop, [peer], 200)
    assert len(peer.pings) >= 3
    assert peer.gone is None


@pytest.mark.parametrize("answers", [True, False])
def test_a_closed_peer_is_forgotten(loop: FakeLoop, answers: bool) -> None:
    wheel = TimerWheel(2, 2, loop)
    wheel.start()
    peer = Peer(answers)
    wheel.add(peer)
    peer.closing = True
    turn(loop, [peer], 100)
    assert peer.pings == []
    assert all(not slot for slot in wheel._pings + wheel._pongs)


def test_a_watched_one_is_asked_at_each_tick_until_it_has_no_deadline(loop: FakeLoop) -> None:
    asked: list[float] = []

    class Deadline:
        def check(self, now: float) -> bool:
            asked.append(now)
            return len(asked) < 3

    wheel = TimerWheel(25, 20, loop)
    wheel.start()
    wheel.watch(Deadline())
    turn(loop, [], 10)
    assert asked == [1.0, 2.0, 3.0]
