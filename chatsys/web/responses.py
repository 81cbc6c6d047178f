"""Answers as JSON, and the table from errors to HTTP statuses (contract §1.3)."""

from __future__ import annotations

import logging

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from chatsys import errors
from chatsys.wire import objects
from chatsys.wire.answers import Answered, Problem

log = logging.getLogger(__name__)

RETRY_SECONDS = 5
"""The ``Retry-After`` of answers with 503."""

STATUS: dict[type[errors.ChatsysError], int] = {
    errors.RequestTooLarge: 413,
    errors.InvalidInput: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 400,
    errors.TooManyAttempts: 429,
    errors.Overloaded: 503,
    errors.ClientGone: 499,
    errors.StoreError: 503,
}
"""The status of each error and of its subclasses; any other error is a fault of the server, 500."""


def ok(answer: Answered, status: int = 200) -> Response:
    """The answer to a successful request."""
    return Response(objects.encode(answer), status, media_type="application/json")


def problem(status: int, said: Problem, headers: dict[str, str] | None = None) -> Response:
    """The answer to a failed request."""
    return Response(objects.encode(said), status, headers, media_type="application/json")


def status_of(error: errors.ChatsysError) -> int:
    """The HTTP status of an error: that of the nearest class in the table."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


async def failure(request: Request, error: Exception) -> Response:
    """The answer to an error of chatsys. Details about the store stay in the log."""
    assert isinstance(error, errors.ChatsysError)
    if isinstance(error, errors.StoreError):
        # An outage is logged where it is seen, once; any other error of the store is a fault.
        log.log(logging.WARNING if type(error) is errors.StoreError else logging.DEBUG, "%s: %s", error.code, error)
    if status_of(error) == 500:
        raise error
    return refusal(error)


def refusal(error: errors.ChatsysError) -> Response:
    """The answer to an error that a client may see."""
    if isinstance(error, errors.TooManyAttempts):
        return problem(429, Problem(message=error.message), {"Retry-After": str(error.retry_after)})
    if isinstance(error, errors.Overloaded | errors.StoreError):
        return unavailable()
    said = Problem(message=error.message)
    if isinstance(error, errors.InvalidInput) and error.errors:
        said = Problem(message=error.message, errors=error.errors)
    return problem(status_of(error), said)


def unavailable(
    message: str = "Service temporarily unavailable", *, reason: str | msgspec.UnsetType = msgspec.UNSET
) -> Response:
    """The answer while the store is unavailable or too much work waits (contract §1.12 and §14.5)."""
    return problem(503, Problem(message=message, reason=reason), {"Retry-After": str(RETRY_SECONDS)})


async def route_not_found(request: Request, error: Exception) -> Response:
    """The answer to an unknown path or method: 404 with the requested target (contract §1.7)."""
    return problem(404, Problem(message=f"Route {request.scope['chatsys.target']} not found"))


async def fault(request: Request, error: Exception) -> Response:
    """The answer to a fault of the server: 500 without internals (contract §1.11). The middleware logs the error."""
    return problem(500, Problem(message="Internal server error"))
