"""REST requests over keep-alive connections that all users of this process share.

geventhttpclient's own pool permanently loses a slot if a greenlet is killed while it checks an idle connection. Locust
kills users that do not stop in time, so this module has its own pool.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import msgspec
from gevent.lock import BoundedSemaphore
from geventhttpclient import HTTPClient

from chatsys.loadtesting.socketio_user import FIGURES
from chatsys.results.audit import Unreadable

PLACES = 50
"""Most connections in use at the same time."""
_TIMEOUT = 30.0


class RestError(Unreadable):
    """A request without a usable response; the text is the cause."""


class Rest:
    """One server's REST interface; paths begin with ``/``."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._slots = BoundedSemaphore(PLACES)
        self._idle: list[HTTPClient] = []

    @contextmanager
    def _pooled(self) -> Iterator[HTTPClient]:
        """A pooled connection for one request. It is closed if the request fails or its user is killed."""
        with self._slots:
            client = self._idle.pop() if self._idle else self._client()
            try:
                yield client
            except BaseException:
                client.close()
                raise
            self._idle.append(client)

    def _client(self) -> HTTPClient:
        return HTTPClient.from_url(self.host, concurrency=1, connection_timeout=10.0, network_timeout=_TIMEOUT)

    def request(self, method: str, path: str, fields: object = None, token: str = "") -> tuple[int, bytes, float]:
        """Send one request and return status, body and milliseconds. Raises RestError without a response.

        A POST uses a new connection: the server may be closing an idle one, and a POST that it may have processed must
        not be sent again (RFC 9110 §9.2.2).
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body = b""
        if fields is not None:
            body = msgspec.json.encode(fields)
            headers["Content-Type"] = "application/json"
        began = time.perf_counter()
        try:
            with self._pooled() if method == "GET" else closing(self._client()) as client:
                response = client.request(method, path, body, headers)
                content = bytes(response.read())
        except Exception as error:  # the client raises its own errors, gevent's and the socket's
            raise RestError(f"{type(error).__name__}: {error}") from error
        return response.status_code, content, (time.perf_counter() - began) * 1000

    def read(self, path: str) -> bytes:
        """The body of a GET. Raises RestError unless the status is 200."""
        status, content, _ = self.request("GET", path)
        if status != 200:
            raise RestError(f"GET {path} answered {status}")
        return content

    def timed(self, method: str, path: str, name: str, fields: object = None, token: str = "") -> bytes | None:
        """Send a user's request, timed under ``name``. After a failure, record it in Locust and return None."""
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
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()
