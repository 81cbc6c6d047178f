"""Reading back what a server has stored."""

from __future__ import annotations

from chatsys.client.requests import request
from chatsys.results.audit import Unreadable


def read(url: str, path: str) -> bytes:
    """The body of a GET that must succeed. Raises Unreadable."""
    try:
        status, body = request(url, "GET", path)
    except OSError as error:
        raise Unreadable(f"GET {path}: {error}") from error
    if status != 200:
        raise Unreadable(f"GET {path} answered {status}")
    return body
