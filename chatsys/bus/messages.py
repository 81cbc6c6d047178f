"""The envelope: ``VERSION MAC BODY``, text as UTF-8.

The MAC covers version, channel and body, and is computed in the same way in every version. So a server can verify a
message of a newer version that it can't decode, and reads the store instead. The key is random and stored in a table
that only the server's database role can read. A client of the broker without the key can publish, but its messages are
dropped. The MAC is keyed BLAKE2b, see RFC 7693.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

VERSION = "1"
_MAC_BYTES = 16


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message of a server. The ``number`` counts its messages on a channel, so that receivers detect a gap.

    ``first``: this is the server's first message on the channel. ``missed``: rooms whose events were dropped before
    this message. ``events``: pairs of room and event, in order. ``token``: sent by a server to itself, to check that
    messages arrive.
    """

    server: str
    number: int = 0
    first: bool = False
    missed: list[str] = []
    events: list[tuple[str, msgspec.Raw]] = []
    token: str = ""


class Refused(Exception):
    """The message is malformed or its MAC is wrong: its text is ``garbage`` or ``forged``."""


class NewerVersion(Exception):
    """The message is genuine, but in another version of the format."""


class Envelope:
    """Signs messages with a key and verifies messages signed with it."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Body).decode

    def seal(self, channel: str, body: Body) -> bytes:
        """The bytes to send on ``channel``."""
        return self.sealed(VERSION, channel, self._encode(body))

    def sealed(self, version: str, channel: str, body: bytes) -> bytes:
        """As :meth:`seal`, for an encoded body of any version."""
        return b"%s %s %s" % (version.encode(), self._mac(version.encode(), channel, body), body)

    def open(self, channel: str, data: bytes) -> Body:
        """Verify and decode a message that arrived on ``channel``. Raises Refused or NewerVersion."""
        version, _, rest = data.partition(b" ")
        mac, _, body = rest.partition(b" ")
        if len(mac) != 2 * _MAC_BYTES or not version.isdigit():
            raise Refused("garbage")
        if not hmac.compare_digest(mac, self._mac(version, channel, body)):
            raise Refused("forged")
        if version != VERSION.encode():
            raise NewerVersion
        try:
            return self._decode(body)
        except msgspec.DecodeError as error:
            raise Refused("garbage") from error

    def sent_by(self, server: str, data: bytes) -> bool:
        """Whether ``data`` names ``server`` as its sender. The MAC is not checked."""
        start = len(VERSION) + 2 * _MAC_BYTES + 2
        claim = b'{"server":"%s"' % server.encode()
        return data.startswith(claim, start)

    def _mac(self, version: bytes, channel: str, body: bytes) -> bytes:
        whole = b"%s %s %s" % (version, channel.encode(), body)
        return hashlib.blake2b(whole, key=self._key, digest_size=_MAC_BYTES).hexdigest().encode()
