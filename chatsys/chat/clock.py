"""The clock for everything that is stored."""

from __future__ import annotations

from datetime import UTC, datetime

from chatsys.model.rules import milliseconds


class Clock:
    """The time in UTC, cut to milliseconds."""

    def now(self) -> datetime:
        """The current time."""
        return milliseconds(datetime.now(UTC))
