"""Take a turn: call an operation again and again, closed (the next call follows the answer) or open (calls start when
they are meant to), and keep what each call took."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import msgspec

from chatsys.lab.workloads.operation import Operation

LATE = 0.005
"""Seconds after its intended start from which on a call counts as a missed start."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn gave. ``nanoseconds`` has one entry a call; an open turn counts from the intended start, and has
    the time from the actual start in ``service``. ``seconds`` and ``cpu`` are the turn's wall and processor time."""

    nanoseconds: list[int]
    seconds: float
    cpu: float
    service: list[int] = []
    missed: int = 0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A turn to take: it ends after ``seconds``, but not before ``least`` and not after ``most`` calls.

    ``rate`` in calls a second makes it open; otherwise ``concurrency`` calls are under way at any time.
    """

    operation: str
    seconds: float
    least: int = 1
    most: int = 1_000_000
    concurrency: int = 1
    rate: float | None = None
    seed: int = 0


async def take(operation: Operation, order: Order) -> Turn:
    """Perform ``order`` and audit its effect. Raises WrongAnswer if an answer or the effect is not right."""
    luck = random.Random(order.seed)  # noqa: S311 - draws of a benchmark, to be repeated by seed
    await operation.prepare()
    cpu, began = time.process_time(), time.perf_counter()
    service: list[int] = []
    missed = 0
    if order.rate is None:
        spent = await _closed(operation, order, luck)
    else:
        spent, service, missed = await _open(operation, order, order.rate, luck)
    seconds = time.perf_counter() - began
    used = time.process_time() - cpu
    await operation.audit()
    return Turn(nanoseconds=spent, seconds=seconds, cpu=used, service=service, missed=missed)


async def _closed(operation: Operation, order: Order, luck: random.Random) -> list[int]:
    end = time.perf_counter() + order.seconds
    spent: list[int] = []

    async def caller() -> None:
        while len(spent) < order.least or (time.perf_counter() < end and len(spent) < order.most):
            spent.append(await _timed(operation, operation.draw(luck)))

    if order.concurrency == 1:
        await caller()
    else:
        async with asyncio.TaskGroup() as callers:
            for _ in range(order.concurrency):
                callers.create_task(caller())
    return spent


async def _open(
    operation: Operation, order: Order, rate: float, luck: random.Random
) -> tuple[list[int], list[int], int]:
    """Calls with exponentially distributed gaps, as of many independent users (a Poisson process)."""
    spent: list[int] = []
    service: list[int] = []
    missed = 0
    began = time.perf_counter()
    intended = began

    async def caller(argument: Any, meant: float) -> None:
        started = time.perf_counter_ns()
        took = await _timed(operation, argument)
        service.append(took)
        spent.append(started + took - int(meant * 1e9))

    async with asyncio.TaskGroup() as callers:
        while (intended := intended + luck.expovariate(rate)) < began + order.seconds and len(spent) < order.most:
            argument = operation.draw(luck)
            if (wait := intended - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            missed += time.perf_counter() - intended > LATE
            callers.create_task(caller(argument, intended))
    return spent, service, missed


async def _timed(operation: Operation, argument: Any) -> int:
    began = time.perf_counter_ns()
    answer = await operation.call(argument)
    took = time.perf_counter_ns() - began
    operation.check(argument, answer)
    return took
