"""REST requests on kept-alive connections that all users of this process share.

geventhttpclient's own pool loses a place for good when a greenlet is killed while it looks at an idle connection, as
users are who do not stop in time; the places are therefore counted here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import msgspec
from gevent.lock import BoundedSemaphore
from geventhttpclient import HTTPClient

from chatsys.loadtesting.socketio_user import FIGURES
from chatsys.results.audit import Unreadable

PLACES = 50
"""Connections that are kept at most."""
_PATIENCE = 30.0


class RestError(Unreadable):
    """A request without a usable answer; the text is the cause."""


class Rest:
    """One server's REST interface; paths begin with ``/``."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._url = urlsplit(host)
        self._places = BoundedSemaphore(PLACES)
        self._idle: list[HTTPClient] = []

    @contextmanager
    def _kept(self) -> Iterator[HTTPClient]:
        """A connection for one request, kept unless that breaks off: by an error, or because its user is killed."""
        with self._places:
            client = self._idle.pop() if self._idle else self._client()
            try:
                yield client
            except BaseException:
                client.close()
                raise
            self._idle.append(client)

    def _client(self) -> HTTPClient:
        secure = self._url.scheme == "https"
        return HTTPClient(
            self._url.hostname,
            self._url.port or (443 if secure else 80),
            ssl=secure,
            concurrency=1,
            connection_timeout=10.0,
            network_timeout=_PATIENCE,
        )

    def request(self, method: str, path: str, fields: object = None, token: str = "") -> tuple[int, bytes, float]:
        """Send one request: its status, body and milliseconds. Raises RestError without an answer.

        A POST has a connection of its own: those that are kept may just be ended by the server, and what may have been
        done already must not be sent again (RFC 9110 §9.2.2).
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body = b""
        if fields is not None:
            body = msgspec.json.encode(fields)
            headers["Content-Type"] = "application/json"
        begun = time.perf_counter()
        try:
            with self._kept() if method == "GET" else closing(self._client()) as client:
                response = client.request(method, path, body, headers)
                content = bytes(response.read())
        except Exception as error:  # the client raises its own, gevent's and the socket's errors
            raise RestError(f"{type(error).__name__}: {error}") from error
        return response.status_code, content, (time.perf_counter() - begun) * 1000

    def read(self, path: str) -> bytes:
        """The body of a GET that must succeed. Raises RestError."""
        status, content, _ = self.request("GET", path)
        if status != 200:
            raise RestError(f"GET {path} answered {status}")
        return content

    def timed(self, method: str, path: str, name: str, fields: object = None, token: str = "") -> bytes | None:
        """A request of a user: timed under ``name``; None and a Locust failure if it fails."""
        try:
            status, content, ms = self.request(method, path, fields, token)
        except RestError as error:
            FIGURES.failure(method, name, error)
            return None
        FIGURES.timing(method, name).add(ms)
        if status >= 400:
            FIGURES.only_failure(method, name, f"HTTP {status} {content[:120].decode('utf-8', 'replace')}")
            return None
        return content

    def close(self) -> None:
        """Close what is kept."""
        while self._idle:
            self._idle.pop().close()
