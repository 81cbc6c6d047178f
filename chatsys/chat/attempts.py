"""Failed logins, counted by account and client address (contract §4.2), in this server's memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from chatsys.errors import TooManyAttempts

_REMEMBERED = 10_000


class LoginAttempts:
    """Refuses an account from one address after ``limit`` failures, until ``window`` seconds after the last one.

    Remembers the 10,000 most recent pairs; the login name is as typed by the client, folded by the caller.
    """

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def check(self, account: str, address: str) -> None:
        """Raise TooManyAttempts (with the seconds to wait) if this pair has failed too often."""
        count, last = self._failures.get((account, address), (0, 0.0))
        left = last + self._window - time.monotonic()
        if count >= self._limit and left > 0:
            raise TooManyAttempts(math.ceil(left))

    def failed(self, account: str, address: str) -> None:
        """Count one failure."""
        key = (account, address)
        count, last = self._failures.pop(key, (0, 0.0))
        now = time.monotonic()
        self._failures[key] = (count + 1 if now - last < self._window else 1, now)
        if len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, account: str, address: str) -> None:
        """Forget the failures of this pair."""
        self._failures.pop((account, address), None)
