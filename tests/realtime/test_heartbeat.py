"""One wheel pings everybody in time, and gives up those who do not answer."""

from __future__ import annotations

import asyncio

import pytest

from chatsys.realtime.heartbeat import Heartbeat


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


def turn(wheel: Heartbeat, peers: list[Peer], ticks: int) -> None:
    """Let the wheel make ``ticks`` steps without waiting for them."""
    for _ in range(ticks):
        for peer in peers:
            peer.tick += 1
        wheel._turn()
        wheel.stop()


async def test_a_living_peer_is_pinged_every_interval_and_a_dead_one_given_up_after_the_timeout() -> None:
    wheel = Heartbeat(interval=25, timeout=20)
    living, dead = Peer(answers=True), Peer(answers=False)
    wheel.add(living)
    wheel.add(dead)
    turn(wheel, [living, dead], 100)
    assert living.pings == [24, 48, 72, 96]
    assert living.gone is None
    assert dead.pings == [24]
    assert dead.gone == 44


async def test_an_interval_shorter_than_the_timeout_still_pings() -> None:
    wheel = Heartbeat(interval=1, timeout=3)
    peer = Peer(answers=True)
    wheel.add(peer)
    turn(wheel, [peer], 200)
    assert len(peer.pings) >= 3
    assert peer.gone is None


@pytest.mark.parametrize("answers", [True, False])
async def test_a_closed_peer_is_forgotten(answers: bool) -> None:
    wheel = Heartbeat(interval=2, timeout=2)
    peer = Peer(answers)
    wheel.add(peer)
    peer.closing = True
    turn(wheel, [peer], 100)
    assert peer.pings == []
    assert all(not slot for slot in wheel._pings + wheel._pongs)
    await asyncio.sleep(0)
