"""Save a memory store to a snapshot file, and load it when the server starts again."""

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
    """A memory store and its snapshot file. At most one snapshot is being written at a time."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._path = path
        self._saving: asyncio.Task[None] | None = None

    async def load(self) -> str:
        """Load the file if it exists. Returns a sentence about what was loaded. Raises SnapshotDamaged."""
        if not self._path.exists():
            return f"No snapshot at {self._path} yet: it will be written when the server stops, or on SIGUSR1"
        trailer = await asyncio.to_thread(snapshot.check, self._path)
        await snapshot.load(self._store, self._path)
        counts = trailer.counts
        return f"Loaded {counts.users} users, {counts.rooms} rooms and {counts.messages} messages from {self._path}"

    def save_soon(self) -> None:
        """Write the file in the background, unless it is being written already. A failure is logged."""
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save_or_log())

    async def finish(self, *, write: bool) -> None:
        """Wait for a snapshot that is being written. With ``write``, write a last one. Raises OperatorError."""
        if self._saving is not None:
            await self._saving
        if write:
            await self._save()

    async def _save_or_log(self) -> None:
        try:
            await self._save()
        except ChatsysError as error:
            log.error("Could not write the snapshot: %s", error.message)

    async def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        trailer = await snapshot.write(self._store, self._path, datetime.now(UTC))
        log.info("Wrote the snapshot %s with %d messages", self._path, trailer.counts.messages)


@contextlib.asynccontextmanager
async def kept(store: Store, settings: Settings, announce: Callable[[str], None]) -> AsyncIterator[None]:
    """Load a memory store from its snapshot file now, and save it on exit and on SIGUSR1.

    Without a configured file, SIGUSR1 saves the store to the data folder. With PostgreSQL, SIGUSR1 only logs a warning;
    without a handler, it would end the process.
    """
    if settings.database_url != "memory://":
        if settings.snapshot is not None:
            raise OperatorError(
                "A snapshot can be configured only for memory://; PostgreSQL stores its data itself.",
                hint="Import the snapshot with `chatsys import FILE --to URL`.",
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
    """Handle SIGUSR1 in a server on PostgreSQL."""
    log.warning("SIGUSR1 was ignored: PostgreSQL stores the data itself; `chatsys export` writes a snapshot")


@contextlib.contextmanager
def _on_signal(number: int, handler: Callable[[], None]) -> Iterator[None]:
    """Call the handler on a signal. Does nothing outside the main thread, where Python can't handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)
