"""The REST endpoints (contract §1 to §6, §11 and §14.6), one module for each noun.

``middleware`` wraps all of them (paths, HEAD, CORS, faults), ``requests`` reads what a client sent, ``responses`` maps
errors to HTTP statuses, and ``pages`` serves the web client. Endpoints take the raw request, call a verb of ``chat``
without a schema library in between, and return a type of ``chatsys.wire.answers``, encoded once. ``catalogue``
describes every endpoint, ``openapi`` generates a document from it, and ``documents`` serves that and its page.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from chatsys.chat.bundle import Chat
from chatsys.chat.shared import SharedReads
from chatsys.errors import ChatsysError
from chatsys.web import auth, documents, health, pages, rooms, users
from chatsys.web.middleware import Middleware
from chatsys.web.responses import failure, fault, route_not_found


def make_app(
    chat: Chat,
    *,
    cors_origin: str = "*",
    metrics: bool = True,
    access_log: bool = False,
    together: health.Together = health.alone,
) -> Middleware:
    """The REST application over ``chat``, an ASGI callable. ``access_log`` writes a line for each request.

    ``together`` returns the metrics of all processes of the port, given those of this one.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.chat = chat
    app.state.questions = health.Questions(chat)
    app.state.reads = SharedReads()
    app.state.together = together
    for noun in (auth, users, rooms, health, pages, documents):
        app.include_router(noun.router)
    if metrics:
        app.include_router(health.metrics_router)
    app.add_exception_handler(ChatsysError, failure)
    app.add_exception_handler(HTTPException, route_not_found)
    app.add_exception_handler(Exception, fault)
    return Middleware(app, cors_origin=cors_origin, access_log=access_log)
