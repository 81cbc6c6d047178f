"""Socket.IO clients that record events: the official library's, and a bare WebSocket where exact frames matter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
import socketio
from socketio.exceptions import SocketIOError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidURI, WebSocketException

from chatsys.lab.conformance.shapes import EVENTS, CheckFailed, conform, cut, short
from chatsys.protocol.events import read_event

WAIT = 10.0
"""Seconds after which an expected event counts as missing."""

FENCE = "fence "
"""Prefix of the text of a marker message: when it arrives, everything that was sent before it has arrived."""


class Client:
    """The official client. ``received`` holds each event as (name, arguments), in the order of arrival."""

    def __init__(self, url: str, transport: str, name: str, trace: list[str]) -> None:
        self.url, self.transport, self.name = url, transport, name
        self.received: list[tuple[str, tuple[Any, ...]]] = []
        self.lost = asyncio.Event()
        self._trace = trace
        self._arrived = asyncio.Event()
        self._responses: list[aiohttp.ClientResponse] = []
        tracing = aiohttp.TraceConfig()
        tracing.on_request_end.append(self._keep_response)
        self._http = aiohttp.ClientSession(trace_configs=[tracing])
        self.sio = socketio.AsyncClient(
            http_session=self._http, reconnection=False, handle_sigint=False, logger=False, request_timeout=WAIT
        )
        self.sio.on("*", self._record)
        self.sio.on("disconnect", lambda *_: self.lost.set())

    async def connect(self, auth: Any = None) -> None:
        """Connect. Raises CheckFailed if the server refuses or does not answer."""
        try:
            await self.sio.connect(self.url, auth=auth, transports=[self.transport], wait_timeout=WAIT)
        except (SocketIOError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CheckFailed(f"{self.name} cannot connect over {self.transport}: {error}") from None

    async def close(self) -> None:
        """Disconnect, and release what the libraries keep: tasks, and the response of a lost WebSocket."""
        try:
            with suppress(SocketIOError, aiohttp.ClientError, TimeoutError, OSError):
                await asyncio.wait_for(self.sio.disconnect(), 2)
        finally:
            engine = self.sio.eio
            tasks = [task for task in (engine.read_loop_task, engine.write_loop_task) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for response in self._responses:
                response.close()
            await self._http.close()

    async def _keep_response(self, _session: object, _context: object, end: aiohttp.TraceRequestEndParams) -> None:
        self._responses.append(end.response)

    def _record(self, name: str, *arguments: Any) -> None:  # not async: the library runs handlers as tasks
        self.received.append((name, arguments))
        self._trace.append(f"< {self.name} got {name} {short(arguments[0] if arguments else None, 400)}")
        self._arrived.set()

    @property
    def socket_id(self) -> str:
        """The client's Socket.IO id."""
        return str(self.sio.get_sid())

    async def emit(self, event: str, payload: Any = None) -> None:
        """Send an event without an acknowledgement; None sends no argument. Raises CheckFailed if it cannot."""
        self._trace.append(f"> {self.name} emits {event} {'' if payload is None else short(payload)}".rstrip())
        try:
            await self.sio.emit(event, payload)
        except SocketIOError as error:
            raise CheckFailed(f"{self.name} cannot send {event}: {error}") from None

    async def call(self, event: str, payload: Any = None) -> Any:
        """Send an event and wait for its acknowledgement. Raises CheckFailed if none comes."""
        self._trace.append(f"> {self.name} emits {event} {short(payload)} and requests an acknowledgement")
        try:
            answer = await self.sio.call(event, payload, timeout=WAIT)
        except SocketIOError:
            raise CheckFailed(f"{event} was not acknowledged within {WAIT:g} s") from None
        self._trace.append(f"< {self.name} got the acknowledgement {short(answer, 400)}")
        return answer

    def all(self, event: str) -> list[Any]:
        """The payloads of all events of that name so far, without fences."""
        found = [arguments[0] if arguments else None for name, arguments in self.received if name == event]
        return [payload for payload in found if not _is_fence(payload)]

    def names(self) -> list[str]:
        """The names of all events in order, without fences."""
        return [name for name, arguments in self.received if not (arguments and _is_fence(arguments[0]))]

    def texts(self) -> list[str]:
        """The messages received live, without fences."""
        return [message["message"] for message in self.all("receive-message") if isinstance(message, dict)]

    async def want(self, event: str, count: int = 1) -> Any:
        """Wait for the ``count``-th event of that name, check its shape and return its payload. Raises CheckFailed."""
        await self.until(lambda: len(self.all(event)) >= count, f"{event} ({count})" if count > 1 else event)
        payload = self.all(event)[count - 1]
        conform(payload, EVENTS[event], event)
        return payload

    async def text(self, text: str) -> dict[str, Any]:
        """Wait for the message with that text and return it. Raises CheckFailed."""
        await self.until(lambda: text in self.texts(), f"receive-message with {short(text)}")
        return next(message for message in self.all("receive-message") if message.get("message") == text)

    async def list_of(self, count: int) -> list[dict[str, Any]]:
        """Wait until the newest ``room-users`` has ``count`` elements and return that list. Raises CheckFailed."""
        await self.until(
            lambda: bool(self.all("room-users")) and len(self.all("room-users")[-1]) == count,
            f"room-users with {count} elements as the last list",
        )
        found: list[dict[str, Any]] = self.all("room-users")[-1]
        return found

    async def fence(self, label: str) -> None:
        """Send a marker message and wait for it: then everything that the server sent before it has arrived too."""
        await self.emit("send-message", {"message": FENCE + label})
        await self.until(
            lambda: any(arguments and _text(arguments[0]) == FENCE + label for _, arguments in self.received),
            "the message that it sent itself",
        )

    async def until(self, arrived: Callable[[], bool], what: str) -> None:
        """Wait until ``arrived`` returns true; each event calls it. Raises CheckFailed that names ``what``."""
        try:
            async with asyncio.timeout(WAIT):
                while not arrived():
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise CheckFailed(f"{self.name} did not get {what} within {WAIT:g} s") from None


def _text(payload: Any) -> str:
    text = payload.get("message") if isinstance(payload, dict) else None
    return text if isinstance(text, str) else ""


def _is_fence(payload: Any) -> bool:
    return _text(payload).startswith(FENCE)


class Raw:
    """A bare WebSocket that sends and receives exact text frames."""

    def __init__(self, trace: list[str]) -> None:
        self._trace = trace
        self._socket: ClientConnection | None = None
        self.frames: list[str] = []

    async def connect(self, url: str, query: str = "EIO=4&transport=websocket") -> None:
        """Open the WebSocket at ``/socket.io/``. Raises CheckFailed if the server refuses or does not answer."""
        target = f"{url.replace('http', 'ws', 1)}/socket.io/?{query}"
        try:
            self._socket = await connect(target, open_timeout=WAIT, close_timeout=2, max_size=None, proxy=None)
        except (WebSocketException, InvalidURI, TimeoutError, OSError) as error:
            raise CheckFailed(f"no WebSocket at /socket.io/: {error}") from None

    async def close(self) -> None:
        """Close the WebSocket if it was opened."""
        if self._socket is not None:
            await self._socket.close()

    async def send(self, *frames: str) -> None:
        """Send text frames, one after the other. Raises CheckFailed if the connection has ended."""
        assert self._socket is not None
        try:
            for frame in frames:
                self._trace.append(cut(f"> frame {frame}", 160))
                await self._socket.send(frame)
        except WebSocketException as error:
            raise CheckFailed(f"the connection has ended: {error}") from None

    async def next(self, begins: str) -> str:
        """Wait for a frame with this beginning and return it. ``frames`` keeps all frames. Raises CheckFailed."""
        assert self._socket is not None
        try:
            async with asyncio.timeout(WAIT):
                while True:
                    frame = await self._socket.recv()
                    text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
                    self._trace.append(cut(f"< frame {text}"))
                    self.frames.append(text)
                    if text.startswith(begins):
                        return text
        except TimeoutError:
            raise CheckFailed(f"no frame that begins with {begins!r} within {WAIT:g} s") from None
        except WebSocketException as error:
            raise CheckFailed(f"the connection ended instead of a frame that begins with {begins!r}: {error}") from None

    async def ended(self) -> None:
        """Wait until the server has closed the connection. Raises CheckFailed if it does not."""
        assert self._socket is not None
        try:
            async with asyncio.timeout(WAIT):
                while True:
                    frame = await self._socket.recv()
                    if frame == "1":
                        return
                    if isinstance(frame, str):
                        self.frames.append(frame)
        except TimeoutError:
            raise CheckFailed(f"the connection is still open after {WAIT:g} s") from None
        except WebSocketException:
            return

    def events(self) -> list[tuple[str, list[Any]]]:
        """Name and arguments of each event of the default namespace among the frames."""
        read = [read_event(frame[1:]) for frame in self.frames if frame.startswith("42")]
        return [(event.name, list(event.data[1:])) for event in read if event is not None]


def event(name: str, *arguments: Any) -> str:
    """The frame of an event without an acknowledgement."""
    return "42" + json.dumps([name, *arguments])
