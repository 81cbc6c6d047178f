"""An answer of the store that many ask for: one question at a time for all of them, and nobody waits long for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from chatsys.errors import DatabaseSilent

Answer = TypeVar("Answer")


class Newest(Generic[Answer]):
    """Asks with ``ask`` when somebody wants to know, at most once in ``every`` seconds and one question at a time.

    A question that was not answered within ``patience`` seconds stays; nobody waits for it any longer than that.
    """

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, Answer]], *, patience: float, every: float = 0.0) -> None:
        self._ask = ask
        self._patience = patience
        self._every = every
        self._began = 0.0
        self._task: asyncio.Task[Answer] | None = None

    async def get(self) -> Answer:
        """The newest answer. Raises what the question raised, and DatabaseSilent if there is no answer in time."""
        loop = asyncio.get_running_loop()
        task = self._task
        if task is None or (task.done() and (task.cancelled() or loop.time() - self._began >= self._every)):
            self._began = loop.time()
            task = self._task = loop.create_task(self._ask())
            task.add_done_callback(_heard)
        left = self._began + self._patience - loop.time()
        if not task.done() and left > 0:
            await asyncio.wait([task], timeout=left)
        if not task.done() or task.cancelled():
            raise DatabaseSilent("The store did not answer in time.", hint="Look with `chatsys monitor`.")
        error = task.exception()
        if error is not None:
            raise error.with_traceback(None)
        return task.result()


def _heard(task: asyncio.Task[Any]) -> None:
    """Those who asked may all be gone: the error is nobody's then."""
    if not task.cancelled():
        task.exception()
