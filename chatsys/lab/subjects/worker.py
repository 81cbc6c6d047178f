"""The process of a subject: it opens the subject, and performs a repetition for each order.

``python -m chatsys.lab.subjects.worker`` reads requests from standard input and answers on standard output. Each is a
frame: four bytes of length, then msgpack. Between two repetitions it blocks and uses no processor time.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import BinaryIO

import asyncpg
import msgspec
import psutil

from chatsys.database.opening import open_prepared_store
from chatsys.errors import ChatsysError
from chatsys.lab.datasets.filling import fill_messages, fill_users
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.runner.repetitions import Order, Repetition, take
from chatsys.lab.workloads import baselines, endpoints, stores
from chatsys.lab.workloads.operation import Operation
from chatsys.store.address import read_url
from chatsys.store.options import StoreOptions

LENGTH = struct.Struct("<I")
"""The head of a frame: the number of bytes that follow."""


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """Open a subject. ``kind`` is ``store`` or ``asyncpg`` (``url`` is a database), ``python``, ``endpoint`` or
    ``echo`` (``url`` is a chat server or the reference server).

    ``users``, ``messages`` and ``seed`` define the synthetic rows. A store in memory and plain Python are filled with
    them; a database must already hold them.
    """

    kind: str
    users: int
    messages: int
    seed: int
    url: str = "memory://"
    synchronous_commit: str = "on"
    cpu: int | None = None


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """The subject is open. Filling it took these resident bytes for users and for messages, and these seconds."""

    user_bytes: int = 0
    message_bytes: int = 0
    seconds: float = 0


class WorkerFailed(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, in one sentence."""

    message: str


_openings = msgspec.msgpack.Decoder(Opening)
_orders = msgspec.msgpack.Decoder(Order)


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame, or None at the end of the stream."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    return stream.read(LENGTH.unpack(head)[0])


def frame(content: bytes) -> bytes:
    """``content`` as a frame."""
    return LENGTH.pack(len(content)) + content


async def work(requests: BinaryIO, answers: BinaryIO) -> None:
    """Serve one subject until the requests end."""
    loop = asyncio.get_running_loop()

    def reply(answer: Filled | Repetition | WorkerFailed) -> None:
        with suppress(BrokenPipeError):  # the runner is gone, so the requests end as well
            answers.write(frame(msgspec.msgpack.encode(answer)))
            answers.flush()

    async with AsyncExitStack() as stack:
        first = await loop.run_in_executor(None, read_frame, requests)
        if first is None:
            return
        try:
            opening = _openings.decode(first)
            waits: list[float] = []
            operations, opened = await stack.enter_async_context(_subject(opening, waits))
            if opening.cpu is not None:
                os.sched_setaffinity(0, {opening.cpu})  # only now: many subjects fill in parallel
            reply(opened)
            while (content := await loop.run_in_executor(None, read_frame, requests)) is not None:
                order = _orders.decode(content)
                waits.clear()
                done = await take(operations[order.operation], order)
                reply(msgspec.structs.replace(done, pool_wait=sum(waits)))
        except* ChatsysError as errors:
            reply(WorkerFailed(message="; ".join(str(error) for error in _leaves(errors))))


@asynccontextmanager
async def _subject(opening: Opening, waits: list[float]) -> AsyncIterator[tuple[Mapping[str, Operation], Filled]]:
    """The operations of the subject. Its waits for a connection of the pool are appended to ``waits``, in seconds."""

    def observe(name: str, value: float) -> None:
        if name == "pool_wait":
            waits.append(value)

    rows = Synthetic(opening.users, opening.messages, opening.seed)
    began = time.perf_counter()
    if opening.kind == "asyncpg":
        connection = await asyncpg.connect(read_url(opening.url).asyncpg)
        try:
            yield await baselines.bare_postgres(connection, rows), Filled()
        finally:
            await connection.close()
    elif opening.kind == "endpoint":
        async with endpoints.operations(opening.url) as operations:
            yield operations, Filled()
    elif opening.kind == "echo":
        async with endpoints.echo(opening.url) as operations:
            yield operations, Filled()
    elif opening.kind == "python":
        yield baselines.plain_python(rows), Filled()
    else:
        options = StoreOptions(synchronous_commit=opening.synchronous_commit, observe=observe)
        async with open_prepared_store(opening.url, options) as store:
            sizes = [_resident()]
            if opening.url == "memory://":
                await fill_users(store, rows)
                sizes.append(_resident())
                await fill_messages(store, rows)
            sizes += [_resident()] * (3 - len(sizes))
            seconds = time.perf_counter() - began
            opened = Filled(user_bytes=sizes[1] - sizes[0], message_bytes=sizes[2] - sizes[1], seconds=seconds)
            yield stores.operations(store, rows), opened


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def _leaves(group: BaseExceptionGroup[ChatsysError]) -> list[ChatsysError]:
    found: list[ChatsysError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


if __name__ == "__main__":
    import uvloop

    uvloop.run(work(sys.stdin.buffer, sys.stdout.buffer))
