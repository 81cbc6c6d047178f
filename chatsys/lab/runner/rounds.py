"""Rounds: the compared subjects alternate in one run (A B, B A, …), after a warm-up that does not count.

A round repeats every operation once. So the rounds of an operation spread over the whole experiment, and its interval
includes the minutes in which the machine was slower than usual.
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
"""The warm-up ends after these calls or seconds. It is needed because a copied database starts with cold buffers."""
_CONCURRENT = 8  # a repetition with many callers may make this many times as many calls


class Repeatable(Protocol):
    """A subject that performs repetitions. ``store`` is its name in the record, ``size`` its number of users."""

    @property
    def store(self) -> str: ...

    @property
    def size(self) -> int: ...

    async def repeat(self, order: Order) -> Repetition:
        """Perform one repetition."""
        ...


class Match(NamedTuple):
    """The subjects that are compared with the same order, and the depth."""

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
    """Let each subject of each match perform ``rounds`` repetitions, alternating. ``keep`` gets the samples.

    Samples are handed on after each whole round. ``step`` is called when the warm-up and each round begin.
    """
    step("warm-up")
    for match in matches:
        for subject in match.subjects:
            await subject.repeat(_warm_up(match.order))
    for number in range(rounds):
        step(f"round {number + 1} of {rounds}")
        of_round = []
        for match in matches:
            for subject in match.subjects if number % 2 == 0 else tuple(reversed(match.subjects)):
                done = await subject.repeat(_seeded(match.order, number + 1))
                of_round.append(
                    Sampled(
                        experiment=experiment,
                        operation=match.order.operation,
                        contestant=subject.store,
                        depth=match.depth,
                        size=subject.size,
                        round=number,
                        microseconds=np.array(done.nanoseconds) / 1000,
                    )
                )
        for sampled in of_round:
            keep(sampled)


def steps(rounds: int) -> int:
    """How many steps :func:`interleaved` shows."""
    return 1 + rounds


def closed(profile: Profile, operation: str, seed: int, concurrency: int = 1) -> Order:
    """The usual repetition of a profile."""
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
    """The same order with its own random draws."""
    return msgspec.structs.replace(order, seed=order.seed * 1_000 + number)
