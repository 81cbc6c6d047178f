"""HTTP for programs that use a server: single requests, and a persistent connection for measured requests."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from chatsys.client.address import ServerAddress

PATIENCE = 30.0
"""Seconds for an answer."""


class Unanswered(Exception):
    """A request without a usable answer; the text is the cause."""


def request(
    url: str, method: str, path: str, fields: object = None, *, token: str = "", timeout: float = PATIENCE
) -> tuple[int, bytes]:
    """Send one request on its own connection; return the status and body of the answer. Raises OSError."""
    address = ServerAddress(url)
    made = http.client.HTTPSConnection if address.secure else http.client.HTTPConnection
    connection = made(address.host, address.port, timeout=timeout)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    body = msgspec.json.encode(fields) if fields is not None else None
    try:
        connection.request(method, urlsplit(url).path.rstrip("/") + path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"{method} {path}: {error or type(error).__name__}") from error
    finally:
        connection.close()


def got(url: str, path: str, *, timeout: float = PATIENCE) -> Any:
    """The JSON of a GET. Raises OSError, and ValueError for an answer that is not JSON."""
    return msgspec.json.decode(request(url, "GET", path, timeout=timeout)[1])


class KeptConnection:
    """One connection for successive requests, measured without the time of a library."""

    def __init__(self, url: str, timeout: float = PATIENCE) -> None:
        self._address = ServerAddress(url)
        self._path = urlsplit(url).path.rstrip("/")
        self._host = self._address.headers()["Host"]
        self._timeout = timeout
        self._reader = asyncio.StreamReader()
        self._writer: asyncio.StreamWriter | None = None

    async def renew(self) -> None:
        """Open a new connection, because a server closes one that was idle for long. Raises OSError."""
        self.close()
        secure = self._address.context() if self._address.secure else None
        self._reader, self._writer = await asyncio.open_connection(self._address.host, self._address.port, ssl=secure)

    async def request(self, method: str, path: str, fields: object = None) -> bytes:
        """The body of the answer. Raises Unanswered for a status of 400 or more, or without an answer."""
        body = b"" if fields is None else msgspec.json.encode(fields)
        head = (
            f"{method} {self._path}{path} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchanged(head.encode() + body)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self.close()
            raise Unanswered(f"{type(error).__name__} {error}".strip()) from error

    async def _exchanged(self, request: bytes) -> bytes:
        if self._writer is None:
            await self.renew()
        assert self._writer is not None
        self._writer.write(request)
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            content = b"".join([chunk async for chunk in self._chunks()])
        else:
            content = await self._reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close":
            self.close()
        status = first.split(" ")[1]
        if int(status) >= 400:
            raise Unanswered(f"HTTP {status}")
        return content

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
