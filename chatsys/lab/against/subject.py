"""Store operations on request: JSON lines on standard input and output. The comparison of two commits uses it.

docs/BENCHMARKS.md describes the protocol. Each change of it needs a new version, because the process at the other end
of the pipe may belong to another commit.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, BinaryIO

import msgspec

import chatsys
from chatsys.database.opening import open_prepared_store
from chatsys.errors import ChatsysError
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.provenance.clock import cpu_nanoseconds
from chatsys.lab.workloads import stores
from chatsys.lab.workloads.operation import Operation
from chatsys.model.values import NewMessage
from chatsys.store.contract import Store

PROTOCOL = 1
_AT_ONCE = 64


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The first line that a subject writes."""

    protocol: int = PROTOCOL
    version: str = chatsys.__version__


class Open(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="open"):
    """Open a store that holds the synthetic rows of these sizes and seed. ``fill`` writes the rows first."""

    url: str
    users: int
    messages: int
    seed: int
    fill: bool


class RunOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="run"):
    """Perform ``calls`` calls in batches of ``batch``, one call at a time or, if ``together``, a whole batch at once.

    ``watch`` are the ids of processes that work for this one, such as PostgreSQL's. Their processor time is added.
    """

    operation: str
    calls: int
    batch: int
    seed: int
    together: bool = False
    watch: tuple[int, ...] = ()


class StoreOpened(msgspec.Struct, frozen=True, kw_only=True):
    """The store is open and offers these operations."""

    operations: tuple[str, ...]


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """The wall time and the processor time of each batch, in nanoseconds."""

    wall: list[int]
    cpu: list[int]


class RequestFailed(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, in one sentence."""

    error: str


_requests = msgspec.json.Decoder(Open | RunOrder)


async def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer each line until the input ends."""
    loop = asyncio.get_running_loop()

    def reply(answer: Hello | StoreOpened | Ran | RequestFailed) -> None:
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.flush()

    operations: Mapping[str, Operation] = {}
    async with AsyncExitStack() as stack:
        reply(Hello())
        while line := await loop.run_in_executor(None, requests.readline):
            try:
                request = _requests.decode(line)
                if isinstance(request, Open):
                    operations = await stack.enter_async_context(_opened(request))
                    reply(StoreOpened(operations=tuple(operations)))
                else:
                    reply(await _run(operations[request.operation], request))
            except (ChatsysError, msgspec.DecodeError, KeyError) as error:
                reply(RequestFailed(error=str(error) or type(error).__name__))


@asynccontextmanager
async def _opened(request: Open) -> AsyncIterator[Mapping[str, Operation]]:
    rows = Synthetic(request.users, request.messages, request.seed)
    async with open_prepared_store(request.url) as store:
        if request.fill:
            await _fill(store, rows)
        yield stores.operations(store, rows)


async def _fill(store: Store, rows: Synthetic) -> None:
    """Write the rows with the store's own methods, several at a time if their order does not matter."""
    for first in range(0, rows.users, _AT_ONCE):
        indexes = range(first, min(first + _AT_ONCE, rows.users))
        await asyncio.gather(*(store.create_user(rows.user(index)) for index in indexes))
    people = [rows.participant(index) for index in range(rows.users)]
    receipts: list[tuple[NewMessage, int]] = []
    for index in range(rows.messages):
        new = rows.message(index, people[rows.sender(index)])
        await store.post_message(new)
        receipts += [(new, reader) for reader in rows.readers(index)]
    for first in range(0, len(receipts), _AT_ONCE):
        await asyncio.gather(
            *(
                store.mark_read(new.room, new.message_id, people[reader], new.at)
                for new, reader in receipts[first : first + _AT_ONCE]
            )
        )


async def _run(operation: Operation, order: RunOrder) -> Ran:
    """Run the batches. Drawing arguments before a batch and checking answers after it are not timed."""
    rng = random.Random(order.seed)  # noqa: S311 - draws of a benchmark, to be repeated by seed
    perform = _together if order.together else _one_by_one
    ran = Ran(wall=[], cpu=[])
    await operation.prepare()
    for first in range(0, order.calls, order.batch):
        arguments = [operation.draw(rng) for _ in range(first, min(first + order.batch, order.calls))]
        cpu, began = time.process_time_ns() + cpu_nanoseconds(order.watch), time.perf_counter_ns()
        answers = await perform(operation.call, arguments)
        ran.wall.append(time.perf_counter_ns() - began)
        ran.cpu.append(time.process_time_ns() + cpu_nanoseconds(order.watch) - cpu)
        for argument, answer in zip(arguments, answers, strict=True):
            operation.check(argument, answer)
    await operation.audit()
    return ran


async def _one_by_one(call: Callable[[Any], Awaitable[Any]], arguments: Sequence[Any]) -> list[Any]:
    return [await call(argument) for argument in arguments]


async def _together(call: Callable[[Any], Awaitable[Any]], arguments: Sequence[Any]) -> list[Any]:
    return await asyncio.gather(*map(call, arguments))
