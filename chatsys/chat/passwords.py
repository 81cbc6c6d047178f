"""Passwords as bcrypt hashes, computed on separate threads: one hash takes tens of milliseconds of CPU time."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import bcrypt

from chatsys.chat.slots import FairSlots
from chatsys.model.rules import clean_surrogates

T = TypeVar("T")

COST = 10
NICE = 10
"""The nice value of the threads."""

_DECOY = b"$2b$10$3apEXWe3h9nE4EvyJ61y/Oy8/hQHi030AuWlu4LiHymnvnOXQalrK"  # the hash of a password nobody knows
_USED_BYTES = 72  # bcrypt reads no more; longer passwords are cut, as in the original's library


class Passwords:
    """Hash and check passwords off the event loop. A context manager: leaving it ends its threads.

    A caller first enters :meth:`slot`, where ``waiting`` callers may wait, each for at most ``patience`` seconds.
    """

    def __init__(self, waiting: int = 200, patience: float = 10.0) -> None:
        threads = max(2, os.cpu_count() or 2)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt", initializer=_lower_priority)
        self._slots = FairSlots(threads + 1, waiting, patience)  # one reads its account while the others compute

    def __enter__(self) -> Passwords:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def slot(self, client: str) -> AbstractAsyncContextManager[None]:
        """Wait for a thread, fairly between clients (by address). Raises Overloaded if that takes too long."""
        return self._slots.slot(client)

    async def hash(self, password: str) -> str:
        """The bcrypt hash (cost 10) of the first 72 bytes."""
        salt = bcrypt.gensalt(COST)
        hashed = await self._run(bcrypt.hashpw, _prepared(password), salt)
        return hashed.decode("ascii")

    async def matches(self, password: str, hashed: str | None) -> bool:
        """Whether ``hashed`` is the hash of ``password``. None (no such account) takes as long, and gives False."""
        known = _DECOY if hashed is None else hashed.encode("utf-8", "replace")
        try:
            same = await self._run(bcrypt.checkpw, _prepared(password), known)
        except ValueError:  # not a bcrypt hash at all
            return False
        return same and hashed is not None

    async def _run(self, function: Callable[[bytes, bytes], T], password: bytes, salt: bytes) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, password, salt)


def _lower_priority() -> None:
    """Give this thread a lower priority than the event loop's. Only on Linux does each thread have its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _prepared(password: str) -> bytes:
    return clean_surrogates(password).encode()[:_USED_BYTES]
