"""Repetitions: what is timed and what is checked."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from chatsys.lab import statistics
from chatsys.lab.datasets.filling import fill_messages, fill_users
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.runner.repetitions import Order, take
from chatsys.lab.workloads import stores
from chatsys.lab.workloads.operation import TABLE, Operation, WrongAnswer, demand
from chatsys.model.values import Posted
from chatsys.store.opening import open_store


@pytest.fixture
async def memory_store():
    async with open_store("memory://") as store:
        yield store


def counting(answer=lambda argument: argument, **more):
    """Return an operation that records its calls."""
    calls = []

    async def call(argument):
        calls.append(argument)
        await asyncio.sleep(0)
        return answer(argument)

    def check(argument, got):
        demand(argument == got, "the argument")

    return Operation(draw=lambda rng: rng.random(), call=call, check=check, **more), calls


async def test_closed_repetition_respects_its_least_and_most_calls():
    operation, calls = counting()
    repetition = await take(operation, Order(operation="x", seconds=0, least=7))
    assert len(repetition.nanoseconds) == len(calls) == 7
    repetition = await take(operation, Order(operation="x", seconds=60, most=11))
    assert len(repetition.nanoseconds) == 11


async def test_same_seed_draws_the_same_arguments():
    operation, calls = counting()
    await take(operation, Order(operation="x", seconds=0, least=5, seed=4))
    await take(operation, Order(operation="x", seconds=0, least=5, seed=4))
    assert calls[:5] == calls[5:]


async def test_wrong_answer_ends_the_repetition():
    operation, _ = counting(answer=lambda argument: argument + 1)
    with pytest.raises(WrongAnswer):
        await take(operation, Order(operation="x", seconds=0, least=1))


async def test_missing_effect_in_the_store_ends_the_repetition():
    async def audit():
        demand(False, "each write in the store")

    operation, _ = counting(audit=audit)
    with pytest.raises(WrongAnswer, match="each write in the store"):
        await take(operation, Order(operation="x", seconds=0, least=1))


async def test_every_operation_of_the_table_passes_its_own_checks(memory_store):
    rows = Synthetic(50, 300, 1)
    await fill_users(memory_store, rows)
    await fill_messages(memory_store, rows)
    operations = stores.operations(memory_store, rows)
    for name in TABLE:
        repetition = await take(operations[name], Order(operation=name, seconds=0, least=20, concurrency=4))
        assert len(repetition.nanoseconds) >= 20


async def test_message_that_the_store_forgets_is_noticed(memory_store):
    rows = Synthetic(20, 50, 1)
    await fill_users(memory_store, rows)
    operation = stores.operations(memory_store, rows)["send_message"]

    async def forgotten(new) -> Posted:
        posted = await operation.call(new)
        await memory_store.delete_user(new.who.user_id, new.at)
        return posted

    lossy = Operation(operation.draw, forgotten, operation.check, operation.audit)
    with pytest.raises(WrongAnswer, match="each message in the store"):
        await take(lossy, Order(operation="send_message", seconds=0, least=1))


async def test_store_slowed_by_two_tenths_of_a_millisecond_is_called_slower(memory_store):
    rows = Synthetic(200, 1000, 1)
    await fill_users(memory_store, rows)
    usual = stores.operations(memory_store, rows)["find_user_by_id"]

    async def slowed(argument):
        until = time.perf_counter_ns() + 200_000
        while time.perf_counter_ns() < until:
            pass
        return await usual.call(argument)

    slow = Operation(usual.draw, slowed, usual.check)
    taken = {"usual": [], "slow": []}
    for number in range(4):
        for name, operation in (("usual", usual), ("slow", slow)):
            repetition = await take(operation, Order(operation="x", seconds=0, least=100, seed=number))
            taken[name].append(np.array(repetition.nanoseconds) / 1000)
    assert statistics.compare(statistics.pooled(taken["slow"]), statistics.pooled(taken["usual"]))[0] == "slower"
    _, interval = statistics.ratio(taken["slow"], taken["usual"], seed=1)
    assert interval.low > statistics.FACTOR
