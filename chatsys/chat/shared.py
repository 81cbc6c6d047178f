"""Reads that several clients ask for at the same time, done once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from chatsys.errors import StoreUnavailable

Key = TypeVar("Key")
Answer = TypeVar("Answer")


class SharedReads(Generic[Key, Answer]):
    """Answers by key. Who asks shares a read that has not begun yet, so that no answer is older than its question.

    Where the store is away for the read before, it is for the one that waits for it: nobody waits for two in turn.
    """

    def __init__(self) -> None:
        self._running: dict[Key, asyncio.Task[Answer]] = {}
        self._next: dict[Key, asyncio.Task[Answer]] = {}

    async def read(self, key: Key, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """What ``make`` gives, called after this question; also by one of those who ask at the same time."""
        return await asyncio.shield(self.begin(key, make))

    def begin(self, key: Key, make: Callable[[], Awaitable[Answer]]) -> asyncio.Task[Answer]:
        """The task of :meth:`read`. It belongs to all who ask: whoever awaits it shields it."""
        task = self._next.get(key)
        if task is None:
            task = self._next[key] = asyncio.create_task(self._run(key, self._running.get(key), make))
            task.add_done_callback(_heard)
        return task

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


def _heard(task: asyncio.Task[Answer]) -> None:
    """Those who asked may all be gone: their error is nobody's then."""
    if not task.cancelled():
        task.exception()
