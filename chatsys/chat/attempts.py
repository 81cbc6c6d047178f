"""Failed logins, counted by account and client address (contract §4.2), in this server's memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from chatsys.errors import TooManyAttempts

_REMEMBERED = 10_000


class LoginAttempts:
    """Refuses an account from one address after ``limit`` failures within ``window`` seconds.

    The refusal lasts until ``window`` seconds after the last failure. Remembers the 10,000 pairs that failed last;
    ``account`` is the user's id, or the name that was typed where there is no such user.
    """

    def __init__(self, limit: int, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._window = window
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def check(self, account: str, address: str) -> None:
        """Raise TooManyAttempts (with the seconds to wait) if this pair has failed too often."""
        moments = self._failures.get((account, address))
        if moments is None or len(moments) < self._limit or moments[-1] - moments[0] >= self._window:
            return
        left = moments[-1] + self._window - self._clock()
        if left > 0:
            raise TooManyAttempts(math.ceil(left))

    def failed(self, account: str, address: str) -> None:
        """Count one failure."""
        key = (account, address)
        moments = self._failures.setdefault(key, deque(maxlen=self._limit))
        moments.append(self._clock())
        self._failures.move_to_end(key)
        if len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, account: str, address: str) -> None:
        """Forget the failures of this pair."""
        self._failures.pop((account, address), None)
