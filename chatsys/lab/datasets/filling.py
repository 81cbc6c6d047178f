"""Fill a store with synthetic rows through its own methods, the only way to fill a store in memory.

``python -m chatsys.lab.datasets.filling FILE USERS MESSAGES SEED`` writes the snapshot of such a store. A server can
load it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from chatsys.database import snapshot
from chatsys.errors import OperatorError
from chatsys.lab.datasets.synthetic import EPOCH, Synthetic
from chatsys.store.contract import Store
from chatsys.store.opening import open_store


async def fill_users(store: Store, rows: Synthetic) -> None:
    """Create every account."""
    for index in range(rows.users):
        await store.create_user(rows.user(index))


async def fill_messages(store: Store, rows: Synthetic) -> None:
    """Post every message and record every receipt."""
    people = [rows.participant(index) for index in range(rows.users)]
    for index in range(rows.messages):
        new = rows.message(index, people[rows.sender(index)])
        await store.post_message(new)
        for reader in rows.readers(index):
            await store.mark_read(new.room, new.message_id, people[reader], new.at)


async def write_snapshot(rows: Synthetic, file: Path) -> None:
    """Write the snapshot of a memory store with ``rows``, in another process, whose memory is freed when it ends.

    Raises OperatorError if that process fails.
    """
    numbers = [str(number) for number in (rows.users, rows.messages, rows.seed)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chatsys.lab.datasets.filling", str(file), *numbers
    )
    try:
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status:
        raise OperatorError("The rows of the memory server could not be created.", hint="See the error above.")


async def write_here(rows: Synthetic, file: Path) -> None:
    """As :func:`write_snapshot`, in this process."""
    async with open_store("memory://") as store:
        await fill_users(store, rows)
        await fill_messages(store, rows)
        await snapshot.write(store, file, EPOCH)


if __name__ == "__main__":
    asyncio.run(write_here(Synthetic(*map(int, sys.argv[2:5])), Path(sys.argv[1])))
