"""Ctrl-C and SIGTERM: how they end a command, and how a command delays them while it cleans up.

timeout(1) sends its signal twice, and people press Ctrl-C repeatedly, so signals within one second count as one.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Self, TypeVar

T = TypeVar("T")

BURST = 1.0
"""Seconds within which signals count as one."""

_last_counted = [-BURST]
"""When the last signal that counted came."""


def turn_into_interrupts() -> None:
    """Make both signals raise KeyboardInterrupt, so that a command stops the servers that it started."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup or a background job of a shell ignores it
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    if _is_another():
        raise KeyboardInterrupt


def _is_another() -> bool:
    now = time.monotonic()
    another = now > _last_counted[0] + BURST
    if another:
        _last_counted[0] = now
    return another


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Send both signals to ``handler`` within the block, except one that is ignored or has a handler outside Python."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: known for number, known in handlers.items() if known not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until the block has ended, so that a second signal can't interrupt a cleanup.

    Use it for a cleanup that has a time limit of its own. Outside the main thread, where Python handles no signals, it
    does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    try:
        with _handled_by(lambda number, _: received.append(number)):
            yield
    finally:
        if received:
            signal.raise_signal(received[0])


class EndedBySignals:
    """Within the block, the first signal cancels the work, which can still return its results; a later one ends it."""

    def __init__(self) -> None:
        self._cancel: Callable[[], object] | None = None
        self._handling = _handled_by(self._end)

    def __enter__(self) -> Self:
        self._handling.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._handling.__exit__(None, None, None)

    async def run(self, work: Awaitable[T]) -> T:
        """Await the work, and return its result, which it may still return after it was cancelled."""
        task = asyncio.current_task()
        assert task is not None
        self._cancel = partial(task.get_loop().call_soon_threadsafe, task.cancel)
        try:
            return await work
        finally:
            self._cancel = None

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        if not _is_another():
            return
        if self._cancel is None:
            raise KeyboardInterrupt
        self._cancel()
        self._cancel = None
