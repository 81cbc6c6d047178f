"""Health, readiness, metrics, and the description of the server (contract §11 and §14.6)."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Awaitable, Callable

import prometheus_client
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

import chatsys
from chatsys import errors
from chatsys import metrics as numbers
from chatsys.chat import operations
from chatsys.chat.bundle import Chat
from chatsys.chat.newest import Newest
from chatsys.errors import StoreError
from chatsys.web import catalogue
from chatsys.web.pages import START, page, prefers_html
from chatsys.web.requests import chat_of
from chatsys.web.responses import ok, unavailable
from chatsys.wire import answers, objects

log = logging.getLogger(__name__)

READY_SECONDS = 0.8
"""How long the store may take to commit something before the server is not ready."""

READY_EVERY = 1.0
"""Seconds between two such commits; requests in between get the result of the last one."""

COUNT_SECONDS = 0.2
"""How long a page waits for the counts of sessions and rooms; after that it is sent without them."""


Together = Callable[[bytes], Awaitable[bytes]]
"""Turns this process's metrics, as Prometheus text, into those of all processes of its port."""

DEAF = "bus deaf"

REASONS: dict[type[errors.ChatsysError], str] = {
    errors.ConnectionRefused: "database unreachable",
    errors.HostNotFound: "database unreachable",
    errors.TlsFailed: "database unreachable",
    errors.AuthenticationFailed: "database login refused",
    errors.DatabaseMissing: "database missing",
    errors.TooManyConnections: "database connections used up",
    errors.DatabaseSilent: "database silent",
    errors.StatementTimeout: "database slow",
    errors.WriteQueueFull: "database slow",
    errors.ServerShuttingDown: "database starting or stopping",
    errors.ReadOnlyDatabase: "database read-only",
    errors.DiskFull: "database disk full",
    errors.PermissionDenied: "database rights missing",
    errors.SchemaMissing: "database schema wrong",
    errors.SchemaOutdated: "database schema wrong",
    errors.SchemaTooNew: "database schema wrong",
    errors.StoreUnavailable: "database unavailable",
    errors.StoreError: "database fails",
}
"""Why a server is not ready, by the nearest error class: fixed texts, so that no database message leaks."""


class Questions:
    """The store queries of one application's endpoints, shared by all requests; ``known`` holds the last counts."""

    def __init__(self, chat: Chat) -> None:
        self.ready = Newest(lambda: operations.check_writing(chat), patience=READY_SECONDS, every=READY_EVERY)
        self.activity = Newest(lambda: operations.activity(chat), patience=COUNT_SECONDS)
        self.known = (0, 0)


async def alone(own: bytes) -> bytes:
    """The metrics of a port's only process."""
    return own


router = APIRouter()
metrics_router = APIRouter()


@router.get("/")
async def root(request: Request) -> Response:
    """Describe this server and its endpoints; a browser gets a page with links."""
    if prefers_html(request.headers.get("accept", "")):
        response = page(request, START)
        response.headers["Vary"] = "Accept"
        return response
    queries: Questions = request.app.state.questions
    with contextlib.suppress(StoreError):
        queries.known = await queries.activity.get()
    sessions, rooms = queries.known
    return ok(
        answers.About(
            message=catalogue.ABOUT,
            version=chatsys.__version__,
            documentation=catalogue.DOCS,
            stats=answers.SessionCounts(active_users=sessions, total_rooms=rooms),
            endpoints=catalogue.ENDPOINTS,
        )
    )


@router.get("/api/health")
async def health(request: Request) -> Response:
    """Show that the process answers, without a query to the store."""
    return ok(answers.Healthy(message="Server is healthy", timestamp=objects.timestamp(chat_of(request).clock.now())))


@router.get("/api/ready")
async def ready(request: Request) -> Response:
    """Whether the store has just committed something, and the bus delivers the server's own events."""
    if chat_of(request).fanout.deaf:
        return unavailable("The bus between servers is deaf", reason=DEAF)
    queries: Questions = request.app.state.questions
    try:
        await queries.ready.get()
    except StoreError as error:
        log.debug("Not ready: %s: %s", error.code, error.message)
        return unavailable(reason=next(REASONS[kind] for kind in type(error).__mro__ if kind in REASONS))
    return ok(answers.Said(message="Server is ready"))


@metrics_router.get("/metrics")
async def metrics(request: Request) -> Response:
    """The metrics of this port's processes as Prometheus text; without the store, sessions and rooms are NaN."""
    counts: tuple[float, float] = math.nan, math.nan
    with contextlib.suppress(StoreError):
        counts = await request.app.state.questions.activity.get()
    numbers.sessions.set(counts[0])
    numbers.rooms.set(counts[1])
    text = await request.app.state.together(prometheus_client.generate_latest())
    return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)
