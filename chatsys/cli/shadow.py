"""``chatsys shadow``: forward what clients send to one server to a second one too, and compare the answers."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from chatsys.extras import require


def shadow(
    original: Annotated[str, typer.Argument(metavar="ORIGINAL", help="The server that answers the clients.")],
    candidate: Annotated[str, typer.Argument(metavar="SHADOW", help="The server whose answers are compared.")],
    *,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="Port, 0 for a free one.")] = 3003,
) -> None:
    """Proxy a chat server, and compare its answers with a second server's.

    Clients connect to this proxy. The first server answers them. The second one gets the same requests and events in
    the same order, and clients do not wait for it. Ctrl-C ends the proxy and prints the differences; ids, times and
    tokens may differ. Exit status 0 without differences, else 1. Both servers need the same accounts and the same
    JWT_SECRET.
    """
    require("conformance")
    from chatsys.lab.network.address import address, place
    from chatsys.lab.shadow.server import serve
    from chatsys.server.process import bound_socket

    servers = address(original), address(candidate)
    with bound_socket(host, port) as listener:
        here = f"http://{host}:{listener.getsockname()[1]}"
        ready = f"Listening on {here}: {place(servers[0])} answers, {place(servers[1])} follows. Ctrl-C ends it."
        found = asyncio.run(serve(servers, listener, lambda: typer.echo(ready)))
    found.show()
    raise typer.Exit(0 if found.same else 1)
