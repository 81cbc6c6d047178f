"""Addresses of servers, as users enter and read them."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from chatsys.errors import OperatorError


def place(url: str) -> str:
    """Host and port of a server's address."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def address(url: str) -> str:
    """The base URL of a server, without a trailing slash. Raises OperatorError if ``url`` is not one."""
    parts = urlsplit(url if "//" in url else f"http://{url}")
    try:
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known or parts.query or parts.fragment:
        raise _not_an_address(url)
    return parts.geturl().rstrip("/")


def listening(url: str) -> str:
    """The address of a server, which must accept connections. Raises OperatorError if it does not."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.username
        host, _, port = place(url).rpartition(":")
    except ValueError:
        known = False
    if not known:
        raise _not_an_address(url)
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise OperatorError(
            f"Nothing listens at {url} ({error}).", hint="Start the server, or enter another address."
        ) from error
    return url.rstrip("/")


def _not_an_address(url: str) -> OperatorError:
    return OperatorError(f"{url!r} is not the address of a server.", hint="Enter one like http://127.0.0.1:3001.")
