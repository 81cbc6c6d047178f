"""HTTP as uvicorn's httptools protocol speaks it, with the house's answer to what is not HTTP.

uvicorn answers bytes that it can't parse with plain text, and takes a head of any length. Read: uvicorn 0.54,
``protocols/http/httptools_impl``.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chatsys.wire import objects

HEAD_LIMIT = 65_536
"""Bytes of a request line with its headers, give or take what one read brings."""


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        self._in_head = True
        self._head = 0
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless it goes on a head that is too long."""
        if self._in_head:
            if self._head > HEAD_LIMIT:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
            self._head += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self._in_head = False
        self._head = 0
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST)

    def _refuse(self, status: HTTPStatus) -> None:
        body = objects.encode({"success": False, "message": status.phrase})
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
