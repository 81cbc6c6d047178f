"""A TCP proxy that breaks connections in the ways in which networks and failovers break them.

It forwards, refuses, falls silent while it goes on acknowledging, and can be pointed at another target: connections
that exist keep the target and the silence that they have, new ones get the present ones.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from contextlib import suppress
from typing import Self, TypeAlias

Target: TypeAlias = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""
Filter: TypeAlias = Callable[[bytes], bytes | None]
"""What is passed on of the bytes that came; None resets the connection."""


KEEPALIVE = 11.0
"""Seconds after which PostgreSQL closes a connection whose other end does not answer, as the server asks it to."""


class Silence(enum.Flag):
    """What is read and thrown away instead of being forwarded."""

    NONE = 0
    REQUESTS = enum.auto()
    ANSWERS = enum.auto()
    BOTH = REQUESTS | ANSWERS


class _Connection:
    """Both ends of one connection."""

    def __init__(self, silence: Silence) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.audible = asyncio.Event()
        self.fall(silence)

    def fall(self, silence: Silence) -> None:
        """Begin a silence, or end it."""
        self.silence = silence
        if silence:
            self.audible.clear()
        else:
            self.audible.set()

    def abort(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Proxy:
    """A port of 127.0.0.1 before ``target``. An async context manager; ``silence`` and ``target`` are for new ones."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.silence = Silence.NONE
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def listen(self) -> None:
        """Take connections, on the same port as before."""
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset every connection and refuse new ones, until :meth:`listen`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def reset(self) -> None:
        """Reset every connection; new ones are taken."""
        for connection in list(self._connections):
            connection.abort()

    def hush(self, silence: Silence = Silence.BOTH, *, new: bool = False) -> None:
        """Let the connections that there are, and with ``new`` those to come, hang: what comes is acknowledged only."""
        for connection in self._connections:
            connection.fall(silence)
        if new:
            self.silence = silence

    def heal(self, *, old: bool = False) -> None:
        """Forward what new connections send; with ``old`` also that of those that hang, without what they have lost."""
        self.silence = Silence.NONE
        if old:
            self.hush(Silence.NONE)

    def stall(self) -> None:
        """Read no more answers on the connections that there are, until :meth:`flow`: they pile up at the target."""
        for connection in self._connections:
            for answers in connection.writers[1:]:
                answers.transport.pause_reading()  # type: ignore[attr-defined]

    def flow(self) -> None:
        """Read answers again."""
        for connection in self._connections:
            for answers in connection.writers[1:]:
                answers.transport.resume_reading()  # type: ignore[attr-defined]

    def filters(self) -> tuple[Filter, Filter]:
        """What the requests and the answers of a new connection go through."""
        return _unchanged, _unchanged

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        connection = _Connection(self.silence)
        connection.writers.append(writer)
        self._connections.add(connection)
        requests, answers = self.filters()
        try:
            with suppress(OSError):
                far_reader, far_writer = await _connected(self.target)
                connection.writers.append(far_writer)
                if self._server is None:
                    return
                await asyncio.gather(
                    _copy(reader, far_writer, connection, Silence.REQUESTS, requests),
                    _copy(far_reader, writer, connection, Silence.ANSWERS, answers),
                )
        finally:
            self._connections.discard(connection)
            connection.abort()


async def _connected(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, str):
        return await asyncio.open_unix_connection(target)
    return await asyncio.open_connection(*target)


def _unchanged(data: bytes) -> bytes:
    return data


async def _copy(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    connection: _Connection,
    direction: Silence,
    through: Filter,
) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            if direction not in connection.silence:
                passed = through(data)
                if passed is None:
                    connection.abort()
                    return
                writer.write(passed)
                await writer.drain()
    await _noticed(connection)
    with suppress(OSError, RuntimeError):
        writer.close()


async def _noticed(connection: _Connection) -> None:
    """The other end does not hear of an end while there is silence, until its TCP keepalive gets no answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(KEEPALIVE):
            await connection.audible.wait()
