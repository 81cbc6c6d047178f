"""Rounds of turns: things that are compared take turns in one run (A B, B A, …), after a warm-up that is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import numpy as np

from chatsys.lab.profiles import Profile
from chatsys.lab.record import Sampled
from chatsys.lab.turns import Order, Turn

WARM_UP_CALLS, WARM_UP_SECONDS = 100, 0.5
"""The warm-up ends after so many calls or so long: a copied database begins with nothing in its buffers."""
_CROWDED = 8  # times as many calls in a turn of many at a time, each of which waits for the others


class TakesTurns(Protocol):
    """Whatever can be given turns. ``store`` is its name in the record, ``size`` how many users it holds."""

    @property
    def store(self) -> str: ...

    @property
    def size(self) -> int: ...

    async def turn(self, order: Order) -> Turn:
        """Take one."""
        ...


async def interleaved(
    contestants: Sequence[TakesTurns],
    order: Order,
    rounds: int,
    keep: Callable[[Sampled], None],
    *,
    experiment: str = "table",
    depth: str = "store",
) -> None:
    """Let each contestant take ``rounds`` turns, in turns, and hand on what they took."""
    for taken in contestants:
        await taken.turn(_warm_up(order))
    for number in range(rounds):
        line = contestants if number % 2 == 0 else tuple(reversed(contestants))
        for taken in line:
            turn = await taken.turn(_seeded(order, number + 1))
            keep(
                Sampled(
                    experiment=experiment,
                    operation=order.operation,
                    contestant=taken.store,
                    depth=depth,
                    size=taken.size,
                    round=number,
                    microseconds=np.array(turn.nanoseconds) / 1000,
                )
            )


def closed(profile: Profile, operation: str, seed: int, concurrency: int = 1) -> Order:
    """The usual turn of a profile."""
    return Order(
        operation=operation,
        seconds=profile.turn,
        least=max(profile.least_calls, concurrency),
        most=profile.most_calls * min(concurrency, _CROWDED),
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
