"""The client's opening handshake (RFC 6455 §4), without I/O."""

from __future__ import annotations

from collections.abc import Mapping

from websockets.utils import accept_key, generate_key

from chatsys.protocol.frames import FrameError

_LONGEST = 65_536
"""Maximum bytes of the response's header."""


class ClientHandshake:
    """Send ``request``, then pass received bytes to :meth:`read` until it returns bytes.

    ``fields`` are then the response's header fields, with names in lower case.
    """

    def __init__(self, target: str, headers: Mapping[str, str]) -> None:
        self._key = generate_key()
        own = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        fields = {**headers, **own, "Sec-WebSocket-Key": self._key}
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        self.request = "\r\n".join(lines).encode()
        self.fields: list[tuple[str, str]] = []
        self._answer = b""

    def read(self, data: bytes) -> bytes | None:
        """The bytes after the response; None while it is incomplete. Raises FrameError if the server refuses."""
        self._answer += data
        head, end, rest = self._answer.partition(b"\r\n\r\n")
        if not end:
            if len(self._answer) > _LONGEST:
                raise FrameError("the answer to the upgrade has no end")
            return None
        status, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        self.fields = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
        if status.split(" ", 2)[1:2] != ["101"]:
            raise FrameError(f"no upgrade: {status}")
        if dict(self.fields).get("sec-websocket-accept") != accept_key(self._key):
            raise FrameError("no upgrade: wrong Sec-WebSocket-Accept")
        return rest
