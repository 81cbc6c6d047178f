"""Proxies in front of the tests' databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from chatsys.lab.network.proxy import Proxy


def socket_of(url: str) -> str:
    """Return the Unix socket of a test's server."""
    query = parse_qs(urlsplit(url).query)
    return f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}"


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy in front of the server of ``url``, and the URL that goes through it."""
    parts = urlsplit(url)
    async with Proxy(socket_of(url)) as proxy:
        yield proxy, f"postgresql://{parts.username}@127.0.0.1:{proxy.port}{parts.path}?sslmode=disable"
