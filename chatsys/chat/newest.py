"""Queries to the store that many callers share: one runs at a time, and nobody waits long for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from chatsys.errors import DatabaseSilent

Answer = TypeVar("Answer")


class Newest(Generic[Answer]):
    """Runs the query ``ask`` on request, at most once in ``every`` seconds and one at a time.

    A query that has no answer within ``patience`` seconds goes on, but nobody waits for it any longer.
    """

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, Answer]], *, patience: float, every: float = 0.0) -> None:
        self._ask = ask
        self._patience = patience
        self._every = every
        self._began = 0.0
        self._task: asyncio.Task[Answer] | None = None

    async def get(self) -> Answer:
        """The newest answer. Raises the query's error, or DatabaseSilent if there is no answer in time."""
        loop = asyncio.get_running_loop()
        task = self._task
        if task is None or (task.done() and (task.cancelled() or loop.time() - self._began >= self._every)):
            self._began = loop.time()
            task = self._task = loop.create_task(self._ask())
            task.add_done_callback(retrieve_error)
        left = self._began + self._patience - loop.time()
        if not task.done() and left > 0:
            await asyncio.wait([task], timeout=left)
        if not task.done() or task.cancelled():
            raise DatabaseSilent("The store did not answer in time.", hint="Look with `chatsys monitor`.")
        error = task.exception()
        if error is not None:
            raise error.with_traceback(None)
        return task.result()


def retrieve_error(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from logging an error that nobody retrieves, because every caller was cancelled."""
    if not task.cancelled():
        task.exception()
