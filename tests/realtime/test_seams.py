"""The seams of the libraries under the Socket.IO door are as they were when the door was written against them.

The door replaces some methods of python-engineio, python-socketio and uvicorn, and relies on what others do. When an
upgrade changes one of them, this test names it: read the new source, adapt chatsys/realtime, run tests/flow, and put
the new digest here.
"""

from __future__ import annotations

import hashlib
import inspect
from importlib.metadata import version
from pkgutil import resolve_name

import pytest

SEAMS = [
    ("engineio.async_server.AsyncServer.handle_request", "1a8c878e35166cfe"),
    ("engineio.async_server.AsyncServer._handle_connect", "5bd7edc1d1ae115a"),
    ("engineio.async_server.AsyncServer._make_response", "5f883ef57e34f34c"),
    ("engineio.base_server.BaseServer._upgrades", "040ebcdf64fbf1b3"),
    ("engineio.base_server.BaseServer._get_socket", "ae2f99e66d632944"),
    ("engineio.base_server.BaseServer._ok", "b8f717402eac2b0d"),
    ("engineio.base_server.BaseServer._bad_request", "af66afac6f6c67db"),
    ("engineio.base_server.BaseServer._cors_headers", "da3a25b4305292e2"),
    ("engineio.async_socket.AsyncSocket.handle_get_request", "05eaae9f0a60d9be"),
    ("socketio.async_server.AsyncServer._send_packet", "a00022b42c1c29e9"),
    ("socketio.async_server.AsyncServer._handle_connect", "c97c480cf777de36"),
    ("socketio.async_server.AsyncServer._handle_disconnect", "c0b32ada5b371230"),
    ("socketio.async_server.AsyncServer._handle_eio_message", "bef50fc0e1635921"),
    ("socketio.packet.Packet.decode", "61ad7904b539f472"),
    ("socketio.packet.Packet.add_attachment", "01e024038f3d99f5"),
    ("uvicorn.protocols.websockets.websockets_sansio_impl.WebSocketsSansIOProtocol.__init__", "631dcd744eab875f"),
    (
        "uvicorn.protocols.websockets.websockets_sansio_impl.WebSocketsSansIOProtocol.connection_made",
        "f533ec93747c2cbf",
    ),
    (
        "uvicorn.protocols.websockets.websockets_sansio_impl.WebSocketsSansIOProtocol.connection_lost",
        "dd116afc4d8034e1",
    ),
    ("uvicorn.protocols.websockets.websockets_sansio_impl.WebSocketsSansIOProtocol.shutdown", "e8ace796ada616b7"),
    ("uvicorn.protocols.websockets.websockets_sansio_impl.WebSocketsSansIOProtocol.handle_connect", "fc648c2161ff8e13"),
    ("uvicorn.protocols.websockets.websockets_sansio_impl.WebSocketsSansIOProtocol.run_asgi", "662375aa38d9044c"),
    ("uvicorn.protocols.websockets.websockets_sansio_impl.WebSocketsSansIOProtocol.send", "d4919ed760ce9f7b"),
    ("uvicorn.protocols.http.httptools_impl.HttpToolsProtocol.handle_websocket_upgrade", "179c4f769386ab89"),
]


@pytest.mark.parametrize(("name", "digest"), SEAMS, ids=[name.split(".", 1)[1] for name, _ in SEAMS])
def test_a_seam_is_unchanged(name: str, digest: str) -> None:
    package, _, rest = name.partition(".")
    parts = rest.split(".")
    cut = next(index for index, part in enumerate(parts) if part[0].isupper())
    function = resolve_name(f"{'.'.join([package, *parts[:cut]])}:{'.'.join(parts[cut:])}")
    found = hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]
    distribution = {"engineio": "python-engineio", "socketio": "python-socketio"}.get(package, package)
    assert found == digest, f"{distribution} {version(distribution)} changed {name}; its digest is now {found}"
