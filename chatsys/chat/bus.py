"""What carries payloads between the server processes of one chat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Bus(Protocol):
    """A bus between servers: payloads of one sender arrive in the order sent, at every other server, at most once.

    What is published while a connection is down may be lost; ``on_gap`` then tells the receiver to look in the store
    for what it missed. Payloads are UTF-8 text as bytes, of any length; a server does not get its own back.
    """

    async def publish(self, payload: bytes) -> None:
        """Hand ``payload`` on. Raises StoreError if it could not be."""

    def subscribe(self, on_payload: Callable[[bytes], None], on_gap: Callable[[], None]) -> None:
        """Call ``on_payload`` for each payload of other servers, and ``on_gap`` after some may have been lost.

        Both are called on the event loop and must not block.
        """
