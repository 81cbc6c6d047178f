"""Whether the server is well, what it offers and what it counts (contract §11 and §14.6)."""

from __future__ import annotations

import asyncio
import contextlib
import math

import prometheus_client
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

import chatsys
from chatsys import metrics as numbers
from chatsys.chat import operations
from chatsys.errors import StoreError
from chatsys.web.requests import chat_of
from chatsys.web.responses import ok, unavailable
from chatsys.wire import objects

READY_SECONDS = 5.0
"""How long the store may take to answer before the server is not ready."""

ENDPOINTS = {
    "auth": [
        "POST /api/auth/register",
        "POST /api/auth/login",
        "GET /api/auth/verify",
        "POST /api/auth/logout",
    ],
    "users": [
        "GET /api/users",
        "GET /api/users/search/:query",
        "GET /api/users/:userId",
        "PUT /api/users/:userId",
        "DELETE /api/users/:userId",
    ],
    "rooms": [
        "GET /api/rooms",
        "GET /api/rooms/:room/users",
        "GET /api/rooms/:room/messages",
        "GET /api/rooms/:room/stats",
    ],
    "health": "GET /api/health",
}

router = APIRouter()
metrics_router = APIRouter()


@router.get("/")
async def root(request: Request) -> Response:
    """What this server is and which endpoints it has."""
    sessions, rooms = await operations.activity(chat_of(request))
    return ok(
        message="chatsys, a chat server",
        version=chatsys.__version__,
        documentation="docs/API.md",
        stats={"activeUsers": sessions, "totalRooms": rooms},
        endpoints=ENDPOINTS,
    )


@router.get("/api/health")
async def health(request: Request) -> Response:
    """The process answers; the store is not asked."""
    return ok(message="Server is healthy", timestamp=objects.timestamp(chat_of(request).clock.now()))


@router.get("/api/ready")
async def ready(request: Request) -> Response:
    """The store answers too, and the server hears itself on the bus."""
    if chat_of(request).fanout.deaf:
        return unavailable("The bus between servers is deaf")
    try:
        async with asyncio.timeout(READY_SECONDS):
            await operations.ping(chat_of(request))
    except TimeoutError:
        return unavailable()
    return ok(message="Server is ready")


@metrics_router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Every number of this process as Prometheus text; sessions and rooms are NaN while the store is away."""
    counts: tuple[float, float] = math.nan, math.nan
    with contextlib.suppress(StoreError):
        counts = await operations.activity(chat_of(request))
    numbers.sessions.set(counts[0])
    numbers.rooms.set(counts[1])
    return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)
