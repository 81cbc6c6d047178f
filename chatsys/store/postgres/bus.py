"""The bus between servers over LISTEN/NOTIFY.

What is published while a NOTIFY is under way goes out with the next one: NOTIFY takes a lock of the whole database at
commit, so one for many is what scales. Channel: ``chatsys``. A notification holds fewer than 8,000 bytes: frames of

- ``ORIGIN W LENGTH:PAYLOAD LENGTH:PAYLOAD ...``, whole payloads, lengths in characters
- ``ORIGIN P NUMBER COUNT PART``, one part of a payload that is longer, parts numbered from 0

where ORIGIN tells the publishing process, which ignores its own. See https://www.postgresql.org/docs/current/sql-notify.html
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from chatsys.errors import ChatsysError
from chatsys.store.postgres.connections import DRIVER_ERRORS, Connections, Link
from chatsys.store.postgres.writer import Writer

CHANNEL = "chatsys"
FRAME_BYTES = 7_800
_RETRY = (0.1, 0.2, 0.5, 1.0, 2.0)  # seconds


class PostgresBus:
    """A :class:`chatsys.chat.bus.Bus`. Runs while its ``listen`` task does."""

    def __init__(self, connections: Connections, *, write_queue: int) -> None:
        self._connections = connections
        self._origin = uuid.uuid4().hex[:12]
        self._writer: Writer[bytes, None] = Writer(
            self._notify, keys=lambda _: (), limit=write_queue, observe=lambda name, value: None
        )
        self._parts: dict[str, list[str]] = {}
        self._subscribers: list[tuple[Callable[[bytes], None], Callable[[], None]]] = []
        self.listening = asyncio.Event()

    async def publish(self, payload: bytes) -> None:
        """Hand ``payload`` on with the next notification."""
        await self._writer.write(payload)

    def subscribe(self, on_payload: Callable[[bytes], None], on_gap: Callable[[], None]) -> None:
        """Call back for each payload of other servers, and after some may have been lost."""
        self._subscribers.append((on_payload, on_gap))

    async def listen(self) -> None:
        """Listen until cancelled; after a lost connection connect again and report the gap."""
        failures = 0
        gap = False
        while True:
            try:
                link = await self._connections.dedicated()
                lost = asyncio.Event()
                link.connection.add_termination_listener(lambda _, lost=lost: lost.set())
                await link.connection.add_listener(CHANNEL, self._received)
            except (ChatsysError, *DRIVER_ERRORS):
                await asyncio.sleep(_RETRY[min(failures, len(_RETRY) - 1)])
                failures += 1
                gap = gap or self.listening.is_set()
                continue
            failures = 0
            self.listening.set()
            if gap:
                self._report_gap()
            gap = True
            try:
                await lost.wait()
            finally:
                await _ended(link)

    async def drain(self) -> None:
        """Wait until what was published is out."""
        await self._writer.drain()

    async def _notify(self, payloads: Sequence[bytes]) -> Sequence[None]:
        frames = list(_frames(self._origin, [payload.decode() for payload in payloads]))
        await self._connections.write("notify", CHANNEL, frames)
        return [None] * len(payloads)

    def _received(self, _connection: Any, _pid: int, _channel: str, frame: object) -> None:
        assert isinstance(frame, str)
        origin, kind, rest = frame.split(" ", 2)
        if origin == self._origin:
            return
        for payload in self._whole(rest) if kind == "W" else self._joined(origin, rest):
            for on_payload, _ in self._subscribers:
                on_payload(payload.encode())

    def _whole(self, rest: str) -> Iterator[str]:
        while rest:
            length, _, rest = rest.partition(":")
            yield rest[: int(length)]
            rest = rest[int(length) :]

    def _joined(self, origin: str, rest: str) -> Iterator[str]:
        number, count, part = rest.split(" ", 2)
        parts = self._parts.setdefault(origin, [])
        if int(number) != len(parts):  # the beginning was sent before this process listened
            parts.clear()
        if int(number) == len(parts):
            parts.append(part)
        if len(parts) == int(count):
            yield "".join(self._parts.pop(origin))

    def _report_gap(self) -> None:
        self._parts.clear()
        for _, on_gap in self._subscribers:
            on_gap()


def _frames(origin: str, payloads: Sequence[str]) -> Iterator[str]:
    whole, size = "", 0
    for payload in payloads:
        framed = f"{len(payload)}:{payload}"
        needed = len(framed.encode())
        if whole and size + needed > FRAME_BYTES:
            yield f"{origin} W {whole}"
            whole, size = "", 0
        if needed > FRAME_BYTES:
            parts = list(_parts(payload))
            yield from (f"{origin} P {number} {len(parts)} {part}" for number, part in enumerate(parts))
        else:
            whole, size = whole + framed, size + needed
    if whole:
        yield f"{origin} W {whole}"


def _parts(payload: str) -> Iterator[str]:
    data = payload.encode()
    start = 0
    while start < len(data):
        end = start + FRAME_BYTES
        while end < len(data) and data[end] & 0xC0 == 0x80:  # not within a character
            end -= 1
        yield data[start:end].decode()
        start = end


async def _ended(link: Link) -> None:
    try:
        await link.connection.close(timeout=5)
    except DRIVER_ERRORS:
        link.connection.terminate()
