"""Rounds of turns: things that are compared take turns in one run (A B, B A, …), after a warm-up that is left out.

A round has a turn of every operation. So the rounds of each are as far apart as the experiment is long, and its
interval knows of the minutes in which a machine is slower than usual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from chatsys.lab.record import Sampled
from chatsys.lab.runner.profiles import Profile
from chatsys.lab.runner.repetitions import Order, Repetition

WARM_UP_CALLS, WARM_UP_SECONDS = 100, 0.5
"""The warm-up ends after so many calls or so long: a copied database begins with nothing in its buffers."""
_CONCURRENT = 8  # times as many calls in a turn of many at a time, each of which waits for the others


class Repeatable(Protocol):
    """Whatever can be given turns. ``store`` is its name in the record, ``size`` how many users it holds."""

    @property
    def store(self) -> str: ...

    @property
    def size(self) -> int: ...

    async def repeat(self, order: Order) -> Repetition:
        """Take one."""
        ...


class Match(NamedTuple):
    """Who is compared with the same order, and at which depth."""

    subjects: Sequence[Repeatable]
    order: Order
    depth: str = "store"


async def interleaved(
    matches: Sequence[Match],
    rounds: int,
    keep: Callable[[Sampled], None],
    step: Callable[[str], None],
    *,
    experiment: str,
) -> None:
    """Let each subject of each match take ``rounds`` turns, in turns, and hand on what they took, by whole rounds.

    ``step`` is told when a round begins, and the warm-up before the first.
    """
    step("warm-up")
    for match in matches:
        for taken in match.subjects:
            await taken.repeat(_warm_up(match.order))
    for number in range(rounds):
        step(f"round {number + 1} of {rounds}")
        taken_in_round = []
        for match in matches:
            for taken in match.subjects if number % 2 == 0 else tuple(reversed(match.subjects)):
                turn = await taken.repeat(_seeded(match.order, number + 1))
                taken_in_round.append(
                    Sampled(
                        experiment=experiment,
                        operation=match.order.operation,
                        contestant=taken.store,
                        depth=match.depth,
                        size=taken.size,
                        round=number,
                        microseconds=np.array(turn.nanoseconds) / 1000,
                    )
                )
        for sampled in taken_in_round:
            keep(sampled)


def steps(rounds: int) -> int:
    """How many steps :func:`interleaved` tells."""
    return 1 + rounds


def closed(profile: Profile, operation: str, seed: int, concurrency: int = 1) -> Order:
    """The usual turn of a profile."""
    return Order(
        operation=operation,
        seconds=profile.turn,
        least=max(profile.least_calls, concurrency),
        most=profile.most_calls * min(concurrency, _CONCURRENT),
        concurrency=concurrency,
        seed=seed,
    )


def _warm_up(order: Order) -> Order:
    return msgspec.structs.replace(
        _seeded(order, 0),
        seconds=WARM_UP_SECONDS,
        least=order.concurrency,
        most=max(WARM_UP_CALLS, order.concurrency),
    )


def _seeded(order: Order, number: int) -> Order:
    """The same order with draws of its own."""
    return msgspec.structs.replace(order, seed=order.seed * 1_000 + number)
