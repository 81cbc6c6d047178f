"""What passes between the Socket.IO client and what carries it: the first packet, and the client's callbacks."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class TransportError(Exception):
    """The connection could not be made, or was lost; the text is the cause."""


class Opened(msgspec.Struct):
    """The server's first packet; ``pingInterval`` and ``pingTimeout`` in milliseconds, ``maxPayload`` in bytes."""

    sid: str
    upgrades: list[str] = []
    pingInterval: int = 25_000  # noqa: N815
    pingTimeout: int = 20_000  # noqa: N815
    maxPayload: int = 1_000_000  # noqa: N815


class Hooks(msgspec.Struct, frozen=True):
    """What a transport calls; none of them may wait.

    ``received(packet)`` and ``received_binary(data)`` for what comes, ``lost(cause)`` when the connection has ended
    without our asking, ``failed(what, error)`` for what went wrong and was survived, ``upgraded(ms)``.
    """

    received: Callable[[bytes], None]
    received_binary: Callable[[bytes], None]
    lost: Callable[[str], None]
    failed: Callable[[str, BaseException], None]
    upgraded: Callable[[float], None]


def opened_by(packet: bytes) -> Opened:
    """The handshake in the server's first packet. Raises TransportError for anything else."""
    try:
        if packet[:1] != b"0":
            raise TransportError(f"connect: the first packet is {packet[:40]!r}, not an Engine.IO handshake")
        return msgspec.json.decode(packet[1:], type=Opened)
    except msgspec.DecodeError as error:
        raise TransportError(f"connect: the Engine.IO handshake is not readable: {error}") from error
