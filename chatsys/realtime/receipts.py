"""Sends the receipt updates of one room: immediately, or in a large room merged for each message (contract §10.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from chatsys.chat.fanout import MessageDelivered, MessageRead
from chatsys.protocol.packets import Outgoing
from chatsys.realtime.frames import event
from chatsys.wire import catalogue, events

HOLD = 0.2
"""Seconds for which the updates of one message are merged; contract §10.3 allows 0.25."""

IDS_MOST = 1000
"""Maximum user ids in a merged update."""

Update = MessageDelivered | MessageRead


class MergedReceipts:
    """Sends receipt updates with ``broadcast``."""

    def __init__(self, broadcast: Callable[[Outgoing], None]) -> None:
        self._broadcast = broadcast
        self._pending: dict[tuple[type[Update], str], Update] = {}
        self._timer: asyncio.TimerHandle | None = None

    def send(self, update: Update, *, merge: bool) -> None:
        """Send an update now. With ``merge``, wait ``HOLD`` and send only the last one of the same message and kind."""
        if not merge and not self._pending:
            self._broadcast(_event(update, len(_ids(update))))
            return
        self._pending[type(update), update.message_id] = update
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HOLD, self._flush)

    def stop(self) -> None:
        """Drop pending updates."""
        if self._timer is not None:
            self._timer.cancel()

    def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        self._timer = None
        for update in pending.values():
            self._broadcast(_event(update, IDS_MOST))


def _event(update: Update, most: int) -> Outgoing:
    ids = _cut(_ids(update), update.by.user_id, most)
    if isinstance(update, MessageDelivered):
        delivered = events.message_status_update(update.message_id, ids, update.by, update.at)
        return event(catalogue.MESSAGE_STATUS_UPDATE, delivered)
    read = events.message_read_update(update.message_id, ids, update.by, update.at)
    return event(catalogue.MESSAGE_READ_UPDATE, read)


def _ids(update: Update) -> Sequence[str]:
    return update.delivered_to if isinstance(update, MessageDelivered) else update.read_by


def _cut(ids: Sequence[str], by: str, most: int) -> Sequence[str]:
    """At most ``most`` ids, always including ``by``, the user who has just acknowledged."""
    if len(ids) <= most:
        return ids
    cut = ids[:most]
    return cut if by in cut else [*cut[:-1], by]
