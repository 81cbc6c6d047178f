"""An operator's commands under traffic: clean-up, export and import."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import tempfile
from pathlib import Path

from chatsys.errors import OperatorError
from chatsys.lab.faults.fault import UNNOTICED, Concern, Context, fault
from chatsys.lab.subjects.servers import this_program

TIMEOUT = 60.0
_OLD = """
WITH room AS (INSERT INTO rooms (room_name, last_seq) VALUES (%s, 20000) RETURNING room_id)
INSERT INTO messages (guest_id, guest_name, room_id, message_text, created_at, seq)
SELECT 'filler', 'filler', room_id, 'message ' || i, now() - interval '40 days', i
FROM room, generate_series(1, 20000) i
"""


async def _command(context: Context, *arguments: str) -> None:
    """Run a chatsys command on the site's database. Raises OperatorError with its last line if it fails."""
    program = this_program()
    done = await asyncio.to_thread(
        subprocess.run,
        program.command(*arguments),
        env=program.environment(DATABASE_URL=context.site.url),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        raise OperatorError(f"chatsys {arguments[0]} failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")


@fault("clean-up of 20,000 old messages", Concern.ROOM, UNNOTICED, seconds=4)
async def cleanup(context: Context) -> None:
    """Delete the old messages of a separate room, and dead sessions."""
    await context.site.sql(_OLD, f"old {secrets.token_hex(4)}")
    await _command(context, "db", "cleanup", "--messages-older-than", "30d", "--sessions-older-than", "1d")


@fault("export and import", Concern.ROOM, UNNOTICED, seconds=5)
async def export_and_import(context: Context) -> None:
    """Export the chat to a snapshot, and import it into the same database, which has everything already."""
    with tempfile.TemporaryDirectory(prefix="chatsys-export-") as folder:
        file = str(Path(folder, "chat.snapshot"))
        await _command(context, "export", file)
        await _command(context, "import", file)
