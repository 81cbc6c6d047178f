"""An outage in the log: one line when it begins, and one with a count when it is over."""

from __future__ import annotations

import logging
import time

from chatsys.errors import StoreError

log = logging.getLogger(__name__)

QUIET_SECONDS = 2.0
"""How long nothing may have failed before a success ends an outage: one that flickers is one."""


RECENT_SECONDS = 10.0
"""How long a failure counts as the present state. Then the statement may be tried again to see."""


class _Outage:
    """One kind of failure that goes on."""

    def __init__(self, now: float, error: StoreError) -> None:
        self.began = self.last = now
        self.error = error
        self.count = 1


class Outages:
    """What fails now: ``""`` stands for the database as a whole, else the name of the statement that fails.

    ``watching`` is true once the store is open: whoever opens it is told of what fails before that.
    """

    def __init__(self) -> None:
        self.watching = False
        self.going_on: dict[str, _Outage] = {}

    def failed(self, name: str, error: StoreError) -> None:
        """Count a failure; the first one is logged."""
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
        """Why one of these statements fails, if one failed in the last seconds and has not worked since."""
        now = time.monotonic()
        for name in names:
            outage = self.going_on.get(name)
            if outage is not None and now - outage.last < RECENT_SECONDS:
                return type(outage.error)(outage.error.message, hint=outage.error.hint)
        return None

    def succeeded(self, name: str) -> None:
        """A statement of that name worked."""
        now = time.monotonic()
        for key in ("", name):
            outage = self.going_on.get(key)
            if outage is not None and now - outage.last >= QUIET_SECONDS:
                del self.going_on[key]
                what = f"for {key} " if key else ""
                log.warning("The database works again %safter %.1f s; %d statements failed", what,
                            now - outage.began, outage.count)  # fmt: skip
