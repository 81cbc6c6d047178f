"""Reads that several clients ask for at the same time, done once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Answer = TypeVar("Answer")


class SharedReads(Generic[Key, Answer]):
    """Answers by key. Who asks shares a read that has not begun yet, so that no answer is older than its question."""

    def __init__(self) -> None:
        self._running: dict[Key, asyncio.Task[Answer]] = {}
        self._next: dict[Key, asyncio.Task[Answer]] = {}

    async def read(self, key: Key, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """What ``make`` gives, called after this question; also by one of those who ask at the same time."""
        task = self._next.get(key)
        if task is None:
            task = self._next[key] = asyncio.create_task(self._run(key, self._running.get(key), make))
            task.add_done_callback(_heard)
        return await asyncio.shield(task)

    async def _run(
        self, key: Key, before: asyncio.Task[Answer] | None, make: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        if before is not None:
            await asyncio.wait([before])
        task = self._running[key] = self._next.pop(key)
        try:
            return await make()
        finally:
            if self._running.get(key) is task:
                del self._running[key]


def _heard(task: asyncio.Task[Answer]) -> None:
    """Those who asked may all be gone: their error is nobody's then."""
    if not task.cancelled():
        task.exception()
