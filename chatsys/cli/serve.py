"""``chatsys serve``: the chat server."""

from __future__ import annotations

from typing import Annotated

import typer

from chatsys.extras import refuse_windows
from chatsys.settings import read_settings


def serve(
    *,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="postgresql://…, memory:// or embedded://[path]; default DATABASE_URL, else a private PostgreSQL.",
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Address to listen on; default CHATSYS_HOST, else 0.0.0.0.")
    ] = None,
    port: Annotated[
        str | None, typer.Option(metavar="PORT", help="Port, 0 for a free one; default PORT, else 3001.")
    ] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="N", help="Server processes on the port; default CHATSYS_WORKERS, else 1.")
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="With memory://: load this snapshot at the start, and write it at the stop and on SIGUSR1; default "
            "CHATSYS_SNAPSHOT, else none.",
        ),
    ] = None,
    ready_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write the server's URL into this file once it accepts connections, and remove the file at the stop; "
            "default CHATSYS_READY_FILE, else none.",
        ),
    ] = None,
) -> None:
    """Start the chat server.

    SIGTERM or Ctrl-C stops it within 10 seconds. All other settings are environment variables: see docs/SETTINGS.md.
    """
    refuse_windows("The chat server")
    settings = read_settings(
        {
            "DATABASE_URL": database_url,
            "CHATSYS_HOST": host,
            "PORT": port,
            "CHATSYS_WORKERS": workers,
            "CHATSYS_SNAPSHOT": snapshot,
            "CHATSYS_READY_FILE": ready_file,
        }
    )
    from chatsys.server import process
    from chatsys.server import workers as many

    (many if settings.workers > 1 else process).run(settings)
