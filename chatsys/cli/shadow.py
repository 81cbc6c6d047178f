"""``chatsys shadow``: what clients send to one server goes to a second one too, and the answers are compared."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from chatsys.extras import require


def shadow(
    original: Annotated[str, typer.Argument(metavar="ORIGINAL", help="The server that answers the clients.")],
    candidate: Annotated[str, typer.Argument(metavar="SHADOW", help="The server that is to answer the same.")],
    *,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="Port, 0 for a free one.")] = 3003,
) -> None:
    """Stand between clients and a chat server, and have a second one follow.

    Clients connect here. The first server answers them; the second one gets the same requests and events in the same
    order, and nobody waits for it. Ctrl-C ends it and prints what differed; ids, times and tokens may. Exit status 0 if
    nothing did, 1 if something did. Both servers need the same accounts and the same JWT_SECRET.
    """
    require("conformance")
    from chatsys.lab.network.address import address, place
    from chatsys.lab.shadow.server import serve
    from chatsys.server.process import bound_socket

    servers = address(original), address(candidate)
    with bound_socket(host, port) as listener:
        here = f"http://{host}:{listener.getsockname()[1]}"
        said = f"Listening on {here}: {place(servers[0])} answers, {place(servers[1])} follows. Ctrl-C ends it."
        found = asyncio.run(serve(servers, listener, lambda: typer.echo(said)))
    found.show()
    raise typer.Exit(0 if found.same else 1)
