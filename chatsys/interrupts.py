"""Ctrl-C and SIGTERM: what they do to a command, and how they are put off while it puts things in order.

timeout(1) sends its signal twice, and people press Ctrl-C again: what comes within a second is one.
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

_told = [-BURST]
"""When the last that counted came."""


def turn_into_interrupts() -> None:
    """Let both signals raise KeyboardInterrupt: for a command, whose servers would outlive it otherwise."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as for what nohup or a shell's background started
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    if _is_another():
        raise KeyboardInterrupt


def _is_another() -> bool:
    now = time.monotonic()
    another = now > _told[0] + BURST
    if another:
        _told[0] = now
    return another


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Both signals go to ``handler`` until the block has ended, but for one that is ignored, or not Python's."""
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
    """Put Ctrl-C and SIGTERM off until the block has ended: a second one would leave half undone what the first began.

    For what puts things in order within a limit of its own. Outside the main thread, where no signal is handled, it
    does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told: list[int] = []
    try:
        with _handled_by(lambda number, _: told.append(number)):
            yield
    finally:
        if told:
            signal.raise_signal(told[0])


class EndedBySignals:
    """The first signal within the block cancels the work, so that what was done is written; a later one ends it."""

    def __init__(self) -> None:
        self._cancel: Callable[[], object] | None = None
        self._handling = _handled_by(self._end)

    def __enter__(self) -> Self:
        self._handling.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._handling.__exit__(None, None, None)

    async def run(self, work: Awaitable[T]) -> T:
        """Do the work; what it returns, also when it is cancelled."""
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
