"""What time it is, for everything that is remembered."""

from __future__ import annotations

from datetime import UTC, datetime

from chatsys.model.rules import milliseconds


class Clock:
    """The time in UTC, cut to milliseconds."""

    def now(self) -> datetime:
        """This moment."""
        return milliseconds(datetime.now(UTC))
