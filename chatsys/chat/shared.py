"""Reads that several clients request at the same time, done once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from chatsys.chat.newest import retrieve_error
from chatsys.errors import StoreUnavailable

Key = TypeVar("Key")
Answer = TypeVar("Answer")


class SharedReads(Generic[Key, Answer]):
    """Answers by key. Callers share a read that has not begun yet, so that no answer is older than its request.

    If the store is unavailable for one read, the read that waits behind it fails too: nobody waits for two outages.
    """

    def __init__(self) -> None:
        self._running: dict[Key, asyncio.Task[Answer]] = {}
        self._next: dict[Key, asyncio.Task[Answer]] = {}

    async def read(self, key: Key, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """The result of ``make``, which this or another caller's read calls after this request."""
        return await asyncio.shield(self.begin(key, make))

    def begin(self, key: Key, make: Callable[[], Awaitable[Answer]]) -> asyncio.Task[Answer]:
        """The task of :meth:`read`. All callers share it, so each must shield it when awaiting it."""
        task = self._next.get(key)
        if task is None:
            task = self._next[key] = asyncio.create_task(self._run(key, self._running.get(key), make))
            task.add_done_callback(retrieve_error)
        return task

    def stop(self) -> None:
        """Cancel all reads."""
        for task in (*self._running.values(), *self._next.values()):
            task.cancel()

    async def _run(
        self, key: Key, before: asyncio.Task[Answer] | None, make: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        if before is not None:
            await asyncio.wait([before])
        task = self._running[key] = self._next.pop(key)
        failure = before.exception() if before is not None and not before.cancelled() else None
        try:
            if isinstance(failure, StoreUnavailable):
                raise type(failure)(failure.message, hint=failure.hint)
            return await make()
        finally:
            if self._running.get(key) is task:
                del self._running[key]
