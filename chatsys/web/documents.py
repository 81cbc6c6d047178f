"""The documents of the API: ``/openapi.json``, ``/asyncapi.json``, and ``/docs``, a page that shows both.

They are served in production too: they reveal nothing about a deployment, and are generated once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from chatsys.web import openapi
from chatsys.web.catalogue import DOCS, JSON
from chatsys.web.pages import Asset, asset, page, sent
from chatsys.wire import asyncapi
from chatsys.wire.objects import encode

router = APIRouter()


@functools.cache
def _encoded(document: Callable[[], dict[str, Any]]) -> Asset:
    return asset(encode(document()), JSON)


@router.get("/openapi.json")
async def http(request: Request) -> Response:
    """The HTTP endpoints."""
    return sent(request, _encoded(openapi.document))


@router.get("/asyncapi.json")
async def events(request: Request) -> Response:
    """The Socket.IO events."""
    return sent(request, _encoded(asyncapi.document))


@router.get(DOCS)
async def docs(request: Request) -> Response:
    """The page. A slash at the end is redirected, because the page's links are relative."""
    if request.scope["raw_path"].endswith(b"/"):
        return Response(status_code=308, headers={"Location": f"..{DOCS}"})
    return page(request, "docs.html")
