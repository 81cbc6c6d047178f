"""REST requests, each on a connection of its own."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import msgspec

from chatsys.results.audit import Unreadable

PATIENCE = 30.0


def asked(url: str, method: str, path: str, fields: object = None, *, token: str = "") -> tuple[int, bytes]:
    """The status and body of the answer. Raises OSError."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=PATIENCE)
    try:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        connection.request(method, path, msgspec.json.encode(fields) if fields is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def read(url: str, path: str) -> bytes:
    """The body of a GET that must succeed. Raises Unreadable."""
    try:
        status, body = asked(url, "GET", path)
    except (OSError, http.client.HTTPException) as error:
        raise Unreadable(f"GET {path}: {error}") from error
    if status != 200:
        raise Unreadable(f"GET {path} answered {status}")
    return body
