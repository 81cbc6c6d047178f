"""One Socket.IO connection on asyncio, over a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

OPEN_TIMEOUT = 5.0
_encode = msgspec.json.encode
Answer = dict[str, Any]


class Lost(Exception):
    """There is no connection: it could not be made, or it has ended."""


class Socket:
    """A connection to the default namespace. ``heard`` is called with each event's name and payload, in order."""

    def __init__(self, connection: ClientConnection, heard: Callable[[str, Any], None]) -> None:
        self._connection = connection
        self._heard = heard
        self._answers: dict[int, Callable[[Answer], None]] = {}
        self._number = 0
        self._reader: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()

    @classmethod
    async def open(cls, url: str, heard: Callable[[str, Any], None]) -> Socket:
        """Connect. Raises Lost."""
        address = url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                connection = await connect(address, compression=None, ping_interval=None, max_size=None, proxy=None)
                opened = await connection.recv()
                await connection.send("40")
                connected = await connection.recv()
        except (OSError, TimeoutError, WebSocketException) as error:
            raise Lost(str(error)) from error
        if not str(opened).startswith("0") or not str(connected).startswith("40"):
            raise Lost(f"the server answered {connected!r}")
        made = cls(connection, heard)
        made._reader = asyncio.create_task(made._read())
        return made

    async def emit(self, event: str, payload: Any = None, then: Callable[[Answer], None] | None = None) -> None:
        """Send an event; ``then`` is called with its acknowledgement. Raises Lost."""
        number = ""
        if then is not None:
            self._number += 1
            self._answers[self._number] = then
            number = str(self._number)
        await self.send(f"42{number}{_encode([event, payload]).decode()}")

    async def send(self, text: str | bytes) -> None:
        """Send one frame as it is. Raises Lost."""
        try:
            await self._connection.send(text)
        except (OSError, WebSocketException) as error:
            raise Lost(str(error)) from error

    async def call(self, event: str, payload: Any = None, timeout: float = 10.0) -> Answer:
        """Send an event and wait for its acknowledgement. Raises Lost, and TimeoutError after ``timeout`` seconds."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def came(got: Answer) -> None:
            if not answer.done():
                answer.set_result(got)

        async with asyncio.timeout(timeout):
            await self.emit(event, payload, came)
            ending = asyncio.create_task(self.ended.wait())
            both: set[asyncio.Future[Any]] = {answer, ending}
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ending.cancel()
        if not answer.done():
            raise Lost("the connection ended")
        return answer.result()

    async def close(self) -> None:
        """End the connection; harmless if it has ended."""
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader
        self._connection.transport.abort()
        self.ended.set()

    async def _read(self) -> None:
        try:
            async for text in self._connection:
                if text == "2":
                    await self._connection.send("3")
                elif isinstance(text, str) and text.startswith(("42", "43")):
                    self._packet(text)
        except (OSError, WebSocketException):
            return
        finally:
            self.ended.set()

    def _packet(self, text: str) -> None:
        start = text.index("[")
        values = msgspec.json.decode(text[start:])
        if text[1] == "2":
            self._heard(values[0], values[1] if len(values) > 1 else None)
        elif then := self._answers.pop(int(text[2:start]), None):
            then(values[0])
