"""Log an outage in two lines: one when it begins, and one with a count when it is over."""

from __future__ import annotations

import logging
import time

from chatsys.errors import StoreError

log = logging.getLogger(__name__)

QUIET_SECONDS = 2.0
"""A success ends an outage only after this time without failures, so that an intermittent one counts once."""


RECENT_SECONDS = 10.0
"""How long a failure counts as the current state. After that, the statement may be tried again."""


class _Outage:
    """An ongoing failure of one kind."""

    def __init__(self, now: float, error: StoreError) -> None:
        self.began = self.last = now
        self.error = error
        self.count = 1


class Outages:
    """The failures that are going on, by the name of the statement; ``""`` stands for the whole database.

    ``watching`` is true once the store is open. Earlier failures are raised to the caller that opens it.
    """

    def __init__(self) -> None:
        self.watching = False
        self.going_on: dict[str, _Outage] = {}

    def failed(self, name: str, error: StoreError) -> None:
        """Count a failure, and log the first one."""
        if not self.watching:
            return
        now = time.monotonic()
        outage = self.going_on.get(name)
        if outage is None:
            self.going_on[name] = _Outage(now, error)
            log.error("The database fails (%s): %s %s", error.code, error.message, error.hint)
        else:
            outage.last = now
            outage.error = error
            outage.count += 1

    def failing(self, *names: str) -> StoreError | None:
        """The error of one of these statements if it failed recently and has not succeeded since, else None."""
        now = time.monotonic()
        for name in names:
            outage = self.going_on.get(name)
            if outage is not None and now - outage.last < RECENT_SECONDS:
                return type(outage.error)(outage.error.message, hint=outage.error.hint)
        return None

    def succeeded(self, name: str) -> None:
        """A statement of that name succeeded."""
        now = time.monotonic()
        for key in ("", name):
            outage = self.going_on.get(key)
            if outage is not None and now - outage.last >= QUIET_SECONDS:
                del self.going_on[key]
                what = f"for {key} " if key else ""
                log.warning("The database works again %safter %.1f s; %d statements failed", what,
                            now - outage.began, outage.count)  # fmt: skip
