"""Messages from the broker: verify them, drop repeated ones and detect missing ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from chatsys import metrics
from chatsys.bus.contract import Receiver
from chatsys.bus.messages import Body, Envelope, NewerVersion, Refused

logger = logging.getLogger("chatsys.bus")

SENDERS_MOST = 10_000
"""How many senders' newest numbers are kept for each channel."""

WARN_EVERY = 60.0
"""Minimum seconds between two log lines about refused messages."""


class BusInbox:
    """Handles the messages on this server's channel and on the channels of its rooms.

    ``room_of`` returns a channel's room. ``on_token`` is called with each token that this server sent to itself,
    ``on_sender`` with the sending server and the room of each event.
    """

    def __init__(
        self,
        envelope: Envelope,
        server: str,
        receiver: Receiver,
        *,
        room_of: Callable[[str], str | None],
        on_token: Callable[[str], None],
        on_sender: Callable[[str, str], None],
    ) -> None:
        self._envelope = envelope
        self._server = server
        self._receiver = receiver
        self._room_of = room_of
        self._on_token = on_token
        self._on_sender = on_sender
        self._newest: dict[str, dict[str, int]] = {}
        self._warned_at = -WARN_EVERY

    def take(self, channel: str, data: bytes) -> None:
        """Handle one message, valid or not."""
        own = channel == self._server
        if not own and self._envelope.sent_by(self._server, data):
            return
        try:
            body = self._envelope.open(channel, data)
        except Refused as refused:
            self._refuse(str(refused))
        except NewerVersion:
            self._receiver.missed(None if own else self._room_of(channel))
        else:
            if body.server != self._server:
                self._take(channel, own, body)
            elif own and body.token:
                self._on_token(body.token)

    def forget(self, channel: str) -> None:
        """Forget the numbers of a channel that this server has unsubscribed from."""
        self._newest.pop(channel, None)

    def _take(self, channel: str, own: bool, body: Body) -> None:
        of_channel = self._newest.setdefault(channel, {})
        newest = of_channel.get(body.server)
        if newest is not None and body.number <= newest:
            metrics.bus_dropped.labels("repeated").inc()
            return
        if newest is None and len(of_channel) >= SENDERS_MOST:
            del of_channel[next(iter(of_channel))]
        of_channel[body.server] = body.number
        lost = not body.first and (own if newest is None else body.number != newest + 1)
        if lost:
            self._receiver.missed(None if own else self._room_of(channel))
        for room in body.missed:
            self._receiver.missed(room)
        metrics.bus_received.inc(len(body.events))
        for room, event in body.events:
            self._on_sender(body.server, room)
            self._receiver.received(room, bytes(event))

    def _refuse(self, reason: str) -> None:
        metrics.bus_dropped.labels(reason).inc()
        now = time.monotonic()
        if now - self._warned_at >= WARN_EVERY:
            self._warned_at = now
            logger.warning(
                "Dropped a message on the bus: %s. Another program may publish there; /metrics counts such messages.",
                reason,
            )
