"""What uvicorn learns of a new connection without the transport's socket, which would keep the addresses alive."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from uvicorn.server import ServerState

from chatsys.engine.engine import Engine
from chatsys.engine.polling import Endpoint
from chatsys.server.http import HttpProtocol
from chatsys.server.serving import uvicorn_config


class Transport:
    """A transport that knows its addresses and fails anyone who requests its socket."""

    def __init__(self, peer: tuple[Any, ...], own: tuple[Any, ...]) -> None:
        self.reading = True
        self._known = {"peername": peer, "sockname": own}

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        assert name != "socket"
        return self._known.get(name, default)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@pytest.mark.parametrize("more", [(), (0, 0)], ids=["IPv4", "IPv6"])
async def test_new_connection_has_both_addresses_and_uvicorn_can_pause_it(
    engine: Engine, more: tuple[int, ...]
) -> None:
    transport: Any = Transport(("::1", 50_000, *more), ("::1", 3000, *more))
    endpoint = Endpoint(engine, "*")
    config = uvicorn_config(endpoint, endpoint, "/socket.io", forwarded_allow_ips="127.0.0.1")
    made = HttpProtocol(endpoint, config=config, server_state=ServerState(), app_state={})
    made.connection_made(transport)
    assert (made.client, made.server, made.scheme) == (("::1", 50_000), ("::1", 3000), "http")
    assert id(made.transport) == id(transport)
    made.flow.pause_reading()
    assert not transport.reading
    made.flow.resume_reading()
    assert transport.reading


async def test_upgraded_connection_leaves_nothing_to_the_garbage_collector(engine: Engine) -> None:
    transport: Any = Transport(("::1", 50_000), ("::1", 3000))
    endpoint = Endpoint(engine, "*")
    config = uvicorn_config(endpoint, endpoint, "/socket.io", forwarded_allow_ips="127.0.0.1")
    made = HttpProtocol(endpoint, config=config, server_state=ServerState(), app_state={})
    made.connection_made(transport)
    gone = weakref.ref(made)
    gc.disable()
    try:
        made.data_received(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        del made
        assert gone() is None
    finally:
        gc.enable()
