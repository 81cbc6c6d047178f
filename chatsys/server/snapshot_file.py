"""Keep a store that lives in memory in a snapshot file, from one run of its server to the next."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from chatsys.database import snapshot
from chatsys.errors import ChatsysError, OperatorError
from chatsys.settings import Settings
from chatsys.store.contract import Store

log = logging.getLogger(__name__)


class SnapshotFile:
    """One store and the file it is kept in. At most one file is being written at a time."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._path = path
        self._saving: asyncio.Task[None] | None = None

    async def load(self) -> str:
        """Load the file if there is one; a sentence that says what was taken up. Raises SnapshotDamaged."""
        if not self._path.exists():
            return f"No snapshot at {self._path} yet: it is written when the server stops, or on SIGUSR1"
        trailer = await asyncio.to_thread(snapshot.check, self._path)
        await snapshot.load(self._store, self._path)
        counts = trailer.counts
        return f"Took up {counts.users} users, {counts.rooms} rooms and {counts.messages} messages from {self._path}"

    def save_soon(self) -> None:
        """Write the file beside what else is going on; a failure is logged. Nothing if it is being written already."""
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save_or_log())

    async def finish(self, *, write: bool) -> None:
        """Wait for a file that is being written and, if asked to, write the last one. Raises OperatorError."""
        if self._saving is not None:
            await self._saving
        if write:
            await self._save()

    async def _save_or_log(self) -> None:
        try:
            await self._save()
        except ChatsysError as error:
            log.error("The snapshot was not written: %s", error.message)

    async def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        trailer = await snapshot.write(self._store, self._path, datetime.now(UTC))
        log.info("Wrote the snapshot %s with %d messages", self._path, trailer.counts.messages)


@contextlib.asynccontextmanager
async def kept(store: Store, settings: Settings, announce: Callable[[str], None]) -> AsyncIterator[None]:
    """Keep a memory store in its snapshot file: loaded now, written at the end, and whenever SIGUSR1 comes.

    Without a file SIGUSR1 still rescues what is in memory, into the data folder. A server on PostgreSQL has nothing
    to rescue and says so; the signal would end it otherwise.
    """
    if settings.database_url != "memory://":
        if settings.snapshot is not None:
            raise OperatorError(
                "A snapshot is kept for memory:// alone; PostgreSQL keeps its data itself.",
                hint="Move it with `chatsys import FILE --to URL`.",
            )
        with _on_signal(signal.SIGUSR1, nothing_to_rescue):
            yield
        return
    file = SnapshotFile(store, settings.snapshot or settings.data_dir / "memory.snapshot")
    if settings.snapshot is not None:
        announce(await file.load())
    try:
        with _on_signal(signal.SIGUSR1, file.save_soon):
            yield
    finally:
        await file.finish(write=settings.snapshot is not None)


def nothing_to_rescue(*_: object) -> None:
    """What SIGUSR1 does to a server on PostgreSQL."""
    log.warning("SIGUSR1 was ignored: PostgreSQL keeps the data itself; `chatsys export` writes a snapshot")


@contextlib.contextmanager
def _on_signal(number: int, handler: Callable[[], None]) -> Iterator[None]:
    """Within it a signal calls the handler. Only a main thread hears signals; a server in another one goes without."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)
