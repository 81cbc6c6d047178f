"""Rounds: the compared subjects alternate in one run (A B, B A, …), after a warm-up that does not count.

A round repeats every operation once. So the rounds of an operation spread over the whole experiment, and its interval
includes the minutes in which the machine was slower than usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from chatsys.lab.runner.environment import Environment
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


async def interleaved(env: Environment, matches: Sequence[Match], rounds: int, name: str, experiment: str = "") -> None:
    """Let each subject of each match perform ``rounds`` repetitions, alternating.

    Samples are stored after each whole round, under ``experiment`` or else ``name``. Steps begin with ``name``.
    """
    env.step(f"{name}: warm-up")
    for match in matches:
        for subject in match.subjects:
            await subject.repeat(_warm_up(match.order))
    for number in range(rounds):
        env.step(f"{name}: round {number + 1} of {rounds}")
        of_round = []
        for match in matches:
            for subject in match.subjects if number % 2 == 0 else tuple(reversed(match.subjects)):
                done = await subject.repeat(_seeded(match.order, number + 1))
                of_round.append((match, subject, np.array(done.nanoseconds) / 1000))
        for match, subject, taken in of_round:
            operation = match.order.operation
            env.keep(experiment or name, operation, subject.store, subject.size, number, taken, match.depth)


def steps(rounds: int) -> int:
    """How many steps :func:`interleaved` shows."""
    return 1 + rounds


def closed(profile: Profile, operation: str, seed: int, concurrency: int = 1, *, seconds: float | None = None) -> Order:
    """The usual repetition of a profile. ``seconds`` replaces its usual duration."""
    return Order(
        operation=operation,
        seconds=profile.repetition if seconds is None else seconds,
        least=max(profile.least_calls, concurrency),
        most=profile.most_calls * min(concurrency, _CONCURRENT),
        concurrency=concurrency,
        seed=seed,
    )


def _warm_up(order: Order) -> Order:
    return msgspec.structs.replace(
        _seeded(order, 0), seconds=WARM_UP_SECONDS, least=order.concurrency, most=max(WARM_UP_CALLS, order.concurrency)
    )


def _seeded(order: Order, number: int) -> Order:
    """The same order with its own random draws."""
    return msgspec.structs.replace(order, seed=order.seed * 1_000 + number)
