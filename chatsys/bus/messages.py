"""The envelope: ``VERSION MAC BODY``, text as UTF-8.

The MAC covers version, channel and body, in every version in the same way. So a server knows a message of a newer
one as genuine before it can read it, and catches up from the store instead. The key is random and stands in a table
that only the server's role can read: whoever may connect to the broker can send, but not forge. See RFC 7693 (BLAKE2).
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

VERSION = "1"
_MAC_BYTES = 16


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message of a server. Its messages on a channel are numbered: one that is missing shows by the next.

    ``first``: none came before on this channel. ``missed``: rooms of which events were dropped before this message.
    ``events``: room and event, in order. ``token``: sent to oneself, to see whether messages arrive.
    """

    server: str
    number: int = 0
    first: bool = False
    missed: list[str] = []
    events: list[tuple[str, msgspec.Raw]] = []
    token: str = ""


class Refused(Exception):
    """A message that is not to be believed; ``reason`` is ``garbage`` or ``forged``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NewerVersion(Exception):
    """A genuine message of a server with another version."""


class Envelope:
    """Seals messages with a key, and opens those that were sealed with it."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Body).decode

    def seal(self, channel: str, body: Body) -> bytes:
        """The bytes to send on ``channel``."""
        return self.sealed(VERSION, channel, self._encode(body))

    def sealed(self, version: str, channel: str, body: bytes) -> bytes:
        """The same for a body that is encoded already, of any version."""
        return b"%s %s %s" % (version.encode(), self._mac(version.encode(), channel, body), body)

    def open(self, channel: str, data: bytes) -> Body:
        """What came on ``channel``. Raises Refused, or NewerVersion."""
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
        """Whether ``data`` names ``server`` as its sender: one's own echo, which need not be opened."""
        start = len(VERSION) + 2 * _MAC_BYTES + 2
        claim = b'{"server":"%s"' % server.encode()
        return data.startswith(claim, start)

    def _mac(self, version: bytes, channel: str, body: bytes) -> bytes:
        whole = b"%s %s %s" % (version, channel.encode(), body)
        return hashlib.blake2b(whole, key=self._key, digest_size=_MAC_BYTES).hexdigest().encode()
