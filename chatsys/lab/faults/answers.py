"""A proxy that understands just enough of PostgreSQL's protocol, without TLS, to lose the answer of a commit.

The messages are defined at https://www.postgresql.org/docs/current/protocol-message-formats.html.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

from chatsys.lab.network.proxy import Filter, Proxy, Target

_IDLE = b"I"


class AnswerProxy(Proxy):
    """A proxy that can lose the answer of the next transaction with a statement that :meth:`lose` names."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.wanted: re.Pattern[str] | None = None
        self.lost = asyncio.Event()

    def lose(self, statement: str) -> asyncio.Event:
        """Lose the answer of the next transaction with a matching statement. The event is set once it has committed."""
        self.wanted = re.compile(statement, re.IGNORECASE | re.DOTALL)
        self.lost = asyncio.Event()
        return self.lost

    def filters(self) -> tuple[Filter, Filter]:
        """The filters of a new connection, which share their state."""
        link = _Link(self)
        return link.request, link.answer


class _Link:
    """One connection: its prepared statements, and whether to lose the answer that it waits for."""

    def __init__(self, proxy: AnswerProxy) -> None:
        self._proxy = proxy
        self._statements: dict[bytes, str] = {}
        self._started = False
        self._requests = self._answers = b""  # messages that have not fully arrived
        self._armed = False
        self._held = b""

    def request(self, data: bytes) -> bytes:
        """Forward the data, and note its statements."""
        self._requests += data
        if not self._started and len(self._requests) >= 4:  # the start-up message has no type
            size = int.from_bytes(self._requests[:4], "big")
            if len(self._requests) < size:
                return data
            self._started, self._requests = True, self._requests[size:]
        if self._started:
            messages, self._requests = _messages(self._requests)
            for kind, body in messages:
                self._note(kind, body)
        return data

    def _note(self, kind: bytes, body: bytes) -> None:
        if kind == b"P":
            name, text, *_ = body.split(b"\0", 2)
            self._statements[name] = text.decode("utf-8", "replace")
        elif kind in {b"B", b"Q"}:
            first, second, *_ = [*body.split(b"\0", 2), b""]
            statement = self._statements.get(second, "") if kind == b"B" else first.decode("utf-8", "replace")
            if self._proxy.wanted is not None and self._proxy.wanted.search(statement):
                self._proxy.wanted, self._armed = None, True

    def answer(self, data: bytes) -> bytes | None:
        """Forward the data; hold back the answer to lose until its transaction has ended, then reset the connection."""
        messages, self._answers = _messages(self._answers + data)
        done = any(kind in {b"C", b"Z"} for kind, _ in messages)
        if not self._armed or not (done or self._held):  # the answer to Parse alone has neither C nor Z
            return data
        self._held += data
        states = [body for kind, body in messages if kind == b"Z"]
        if states and states[-1] == _IDLE:
            self._proxy.lost.set()
            return None
        held, self._held = (self._held, b"") if states else (b"", self._held)
        return held


def _messages(data: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The complete messages in ``data``, as (type, body), and the rest."""
    found = list(_split(data))
    used = sum(len(body) + 5 for _, body in found)
    return found, data[used:]


def _split(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    start = 0
    while len(data) >= start + 5:
        size = int.from_bytes(data[start + 1 : start + 5], "big")
        if len(data) < start + 1 + size:
            return
        yield data[start : start + 1], data[start + 5 : start + 1 + size]
        start += 1 + size
