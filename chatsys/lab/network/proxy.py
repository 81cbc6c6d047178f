"""A TCP proxy that breaks connections as networks and failovers do.

It can refuse connections, discard data while the kernel still acknowledges it, and change its target. A change of
``target`` or ``silence`` affects new connections only.
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
"""Returns the bytes to forward instead of the received ones; None resets the connection."""


KEEPALIVE = 11.0
"""Seconds after which PostgreSQL closes a connection without answers; the chat server configures it so."""


class Silence(enum.Flag):
    """The directions whose data is read and discarded instead of forwarded."""

    NONE = 0
    REQUESTS = enum.auto()
    ANSWERS = enum.auto()
    BOTH = REQUESTS | ANSWERS


class _Connection:
    """Both ends of one connection."""

    def __init__(self, silence: Silence) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.forwarding = asyncio.Event()
        self.set_silence(silence)

    def set_silence(self, silence: Silence) -> None:
        """Change which directions are silent."""
        self.silence = silence
        if silence:
            self.forwarding.clear()
        else:
            self.forwarding.set()

    def abort(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Proxy:
    """A port of 127.0.0.1 in front of ``target``; an async context manager."""

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
        """Accept connections, on the same port as before."""
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset every connection and refuse new ones, until :meth:`listen`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def reset(self) -> None:
        """Reset every connection. New ones are accepted."""
        for connection in list(self._connections):
            connection.abort()

    def hush(self, silence: Silence = Silence.BOTH, *, new: bool = False) -> None:
        """Discard the data of existing connections, with ``new`` also of new ones: TCP still acknowledges it."""
        for connection in self._connections:
            connection.set_silence(silence)
        if new:
            self.silence = silence

    def heal(self, *, old: bool = False) -> None:
        """Forward the data of new connections, with ``old`` also of silent ones. Discarded data stays lost."""
        self.silence = Silence.NONE
        if old:
            self.hush(Silence.NONE)

    def stall(self) -> None:
        """Stop reading answers on existing connections until :meth:`flow`, so that they queue at the target."""
        for connection in self._connections:
            for answers in connection.writers[1:]:
                answers.transport.pause_reading()  # type: ignore[attr-defined]

    def flow(self) -> None:
        """Read answers again."""
        for connection in self._connections:
            for answers in connection.writers[1:]:
                answers.transport.resume_reading()  # type: ignore[attr-defined]

    def filters(self) -> tuple[Filter, Filter]:
        """The filters for the requests and for the answers of a new connection."""
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
    await _end_visible(connection)
    with suppress(OSError, RuntimeError):
        writer.close()


async def _end_visible(connection: _Connection) -> None:
    """Wait until the other end may see the end: after the silence, or when its TCP keepalive gets no answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(KEEPALIVE):
            await connection.forwarding.wait()
