"""Perform a repetition: call an operation repeatedly in a closed loop, and store how long each call took.

The next call follows the answer, as with a single user. :mod:`chatsys.lab.clients` has the open loop of many users.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import msgspec

from chatsys.lab.workloads.operation import Operation


class Repetition(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements of a repetition.

    ``nanoseconds`` has one entry per call, ``seconds`` is the total wall time, and ``pool_wait`` the total seconds that
    calls waited for a connection to the database.
    """

    nanoseconds: list[int]
    seconds: float
    pool_wait: float = 0.0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A repetition to perform. It ends after ``seconds``, but makes at least ``least`` and at most ``most`` calls.

    ``concurrency`` calls are in progress at any time.
    """

    operation: str
    seconds: float
    least: int = 1
    most: int = 1_000_000
    concurrency: int = 1
    seed: int = 0


async def take(operation: Operation, order: Order) -> Repetition:
    """Perform ``order`` and audit its effect. Raises WrongAnswer if an answer or the effect is wrong."""
    rng = random.Random(order.seed)  # noqa: S311 - draws of a benchmark, to be repeated by seed
    await operation.prepare()
    began = time.perf_counter()
    spent = await _closed(operation, order, rng)
    seconds = time.perf_counter() - began
    await operation.audit()
    return Repetition(nanoseconds=spent, seconds=seconds)


async def _closed(operation: Operation, order: Order, rng: random.Random) -> list[int]:
    end = time.perf_counter() + order.seconds
    spent: list[int] = []

    async def caller() -> None:
        while len(spent) < order.least or (time.perf_counter() < end and len(spent) < order.most):
            spent.append(await _timed(operation, operation.draw(rng)))

    if order.concurrency == 1:
        await caller()
    else:
        async with asyncio.TaskGroup() as callers:
            for _ in range(order.concurrency):
                callers.create_task(caller())
    return spent


async def _timed(operation: Operation, argument: Any) -> int:
    began = time.perf_counter_ns()
    answer = await operation.call(argument)
    took = time.perf_counter_ns() - began
    operation.check(argument, answer)
    return took
