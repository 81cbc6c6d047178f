"""Every HTTP endpoint, once: what it takes, what it returns, how it refuses, each with an example.

``chatsys.web.openapi`` generates the document from it. Tests compare the table with the routes, and check every HTTP
answer of the test suite against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from chatsys import errors
from chatsys.chat.bundle import ChatLimits
from chatsys.model.rules import SEQ_MAX
from chatsys.wire import answers, requests
from chatsys.wire import examples as shown

ABOUT = "chatsys, a chat server"
DOCS = "/docs"
JSON = "application/json"
WORD = "correct horse"
HTML = "text/html"


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A query parameter."""

    name: str
    schema: Mapping[str, Any]
    about: str


class Media(msgspec.Struct, frozen=True):
    """An answer that is not one of the wire's types."""

    kind: str


class HttpOperation(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint. ``takes`` is an example of its body, ``gives`` has one for each status, or one for each media type.

    ``route`` is the method and the path. None is an answer without a body. ``refuses`` has the endpoint's own errors;
    those of :data:`ALWAYS` can happen to any request.
    """

    route: str
    name: str
    subject: str
    summary: str
    about: str = ""
    takes: requests.Sent | None = None
    gives: Mapping[int, Any]
    refuses: tuple[errors.ChatsysError, ...] = ()
    token: bool = False
    query: tuple[Parameter, ...] = ()

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.route.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path, with its parameters in braces."""
        return self.route.partition(" ")[2]


PARAMETERS = {
    "userId": "The account's id.",
    "query": "Any text, percent-encoded, slashes included.",
    "room": "The room's name, percent-encoded, slashes included.",
    "name": "The file's path.",
}
"""The path parameters and their descriptions."""

SUBJECTS = {
    "auth": "Accounts and tokens. A token is valid until it expires, even after a logout.",
    "users": "Accounts as other users see them, and your own.",
    "rooms": "Rooms, their members and messages. An unknown room is empty. To join and to send, use Socket.IO events.",
    "operations": "Health, readiness, metrics, and these documents.",
    "pages": "Pages for a browser.",
}

MALFORMED = errors.MalformedRequest()
NO_TOKEN = (errors.TokenMissing(), errors.TokenInvalid())
INCOMPLETE = errors.InvalidInput(("Username is required",))

ALWAYS: Mapping[int, Mapping[str, answers.Problem]] = {
    400: {"not_http": answers.Problem(message=HTTPStatus.BAD_REQUEST.phrase)},
    408: {"unfinished": answers.Problem(message=HTTPStatus.REQUEST_TIMEOUT.phrase)},
    413: {"request_too_large": answers.Problem(message=errors.RequestTooLarge().message)},
    431: {"head_too_large": answers.Problem(message=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE.phrase)},
    500: {"fault": answers.Problem(message="Internal server error")},
    503: {"unavailable": answers.Problem(message=errors.StoreUnavailable().message)},
}
"""How the server may refuse any request, by status; examples by their names."""

MEANINGS = {
    400: "The request is invalid; `errors`, if present, has an entry for each invalid field.",
    401: "No token, an invalid one, or wrong credentials.",
    403: "The account belongs to another user.",
    404: "The account, file or route does not exist.",
    408: "Head or body did not arrive in time; the server closes the connection.",
    413: "The body is larger than 102,400 bytes.",
    429: "Too many failed logins with this name from this address.",
    431: "The head is larger than 64 KiB; the server closes the connection.",
    499: "The client closed the connection first, so it never sees this.",
    500: "A fault of the server, which its log explains.",
    503: "The store is unavailable, or too many requests wait; retry after `Retry-After`.",
    200: "Done.",
    201: "Created.",
    304: "The browser's copy is current.",
    308: "Use the address in `Location`, with a slash at its end or without it.",
}
"""What each status means."""

_LIMITS = ChatLimits()
_NUMBER = {"type": "integer", "minimum": 0, "maximum": SEQ_MAX}
_FILE = {200: Media("*/*"), 304: None}
_PAGE = {200: Media(HTML), 304: None, 308: None}

OPERATIONS = (
    HttpOperation(
        route="POST /api/auth/register",
        name="register",
        subject="auth",
        summary="Create an account",
        takes=requests.Registration(username="alice", email="alice@example.org", password=WORD),
        gives={201: answers.LoggedIn(message="User registered successfully", user=shown.REGISTERED, token=shown.TOKEN)},
        refuses=(INCOMPLETE, MALFORMED, errors.UserExists(), errors.ClientGone()),
    ),
    HttpOperation(
        route="POST /api/auth/login",
        name="login",
        subject="auth",
        summary="Log in by username or email",
        takes=requests.Credentials(username="alice", password=WORD),
        gives={200: answers.LoggedIn(message="Login successful", user=shown.OWN, token=shown.TOKEN)},
        refuses=(
            errors.InvalidInput(("Username or email is required", "Password is required")),
            MALFORMED,
            errors.InvalidCredentials(),
            errors.TooManyAttempts(900),
            errors.ClientGone(),
        ),
    ),
    HttpOperation(
        route="GET /api/auth/verify",
        name="verify",
        subject="auth",
        summary="The claims of your token",
        token=True,
        gives={200: answers.TokenClaims(message="Token is valid", user=shown.CLAIMS)},
        refuses=NO_TOKEN,
    ),
    HttpOperation(
        route="POST /api/auth/logout",
        name="logout",
        subject="auth",
        summary="Confirm a logout; no token is revoked",
        gives={200: answers.Said(message="Logout successful")},
    ),
    HttpOperation(
        route="GET /api/users",
        name="listUsers",
        subject="users",
        summary=f"The newest {_LIMITS.users} accounts",
        gives={200: answers.UserList(users=(shown.PROFILE,), total=1)},
    ),
    HttpOperation(
        route="GET /api/users/search/{query}",
        name="searchUsers",
        subject="users",
        summary="Accounts by a part of their name",
        about="Finds a literal part of the username or display name, in any letter case. Returns at most "
        f"{_LIMITS.search}, sorted by username, and none for more than 100 characters.",
        gives={200: answers.UserSearch(query="ali", results=(shown.PROFILE,), count=1)},
        refuses=(MALFORMED,),
    ),
    HttpOperation(
        route="GET /api/users/{userId}",
        name="getUser",
        subject="users",
        summary="One account",
        gives={200: answers.OneUser(user=shown.PROFILE)},
        refuses=(MALFORMED, errors.UserNotFound()),
    ),
    HttpOperation(
        route="PUT /api/users/{userId}",
        name="changeUser",
        subject="users",
        summary="Change your own profile or password",
        about="Only the fields that are sent change. A refused request changes nothing.",
        token=True,
        takes=requests.ProfileChange(display_name="Alice", bio="Likes tea."),
        gives={200: answers.ChangedUser(message="Profile updated successfully", user=shown.PROFILE)},
        refuses=(
            errors.InvalidInput(("Display name must not exceed 100 characters",)),
            MALFORMED,
            *NO_TOKEN,
            errors.WrongPassword(),
            errors.Forbidden(),
            errors.UserNotFound(),
            errors.ClientGone(),
        ),
    ),
    HttpOperation(
        route="DELETE /api/users/{userId}",
        name="deleteUser",
        subject="users",
        summary="Delete your own account",
        about="This also deletes its messages, receipts and sessions.",
        token=True,
        gives={200: answers.Said(message="User deleted successfully")},
        refuses=(MALFORMED, *NO_TOKEN, errors.Forbidden(), errors.UserNotFound()),
    ),
    HttpOperation(
        route="GET /api/rooms",
        name="listRooms",
        subject="rooms",
        summary="A page of the rooms by name",
        query=(
            Parameter(
                name="limit", schema={**_NUMBER, "default": _LIMITS.rooms}, about=f"Returns at most {_LIMITS.rooms}."
            ),
            Parameter(name="after", schema={"type": "string"}, about="Start after this name: `next` of the last page."),
        ),
        gives={200: answers.RoomList(data=(shown.ROOM,), total=1)},
        refuses=(errors.MalformedRequest(message=f"limit must be a whole number from 0 to {SEQ_MAX}"),),
    ),
    HttpOperation(
        route="GET /api/rooms/{room}/users",
        name="listRoomUsers",
        subject="rooms",
        summary=f"The newest {_LIMITS.members} sessions in a room",
        gives={200: answers.RoomMembers(room="general", count=1, data=(shown.MEMBER,), users=(shown.PRESENT,))},
        refuses=(MALFORMED,),
    ),
    HttpOperation(
        route="GET /api/rooms/{room}/messages",
        name="listMessages",
        subject="rooms",
        summary="A page of the messages, oldest first",
        about="`limit` and `offset` count from the newest message, or with `before` from the newest one below that "
        "sequence number. `before` costs the same however far back it is. A page has at most `CHATSYS_PAGE_BYTES` "
        "bytes of messages, but at least one message. A page that is cut to this size has the newest messages that "
        "fit, `truncated` and `nextOffset`. To continue, send `nextOffset` as `offset`, with the same `before`.",
        query=(
            Parameter(
                name="limit", schema={**_NUMBER, "default": _LIMITS.history}, about=f"Returns at most {_LIMITS.page}."
            ),
            Parameter(name="offset", schema={**_NUMBER, "default": 0}, about="How many messages to skip."),
            Parameter(name="before", schema=_NUMBER, about="A sequence number."),
        ),
        gives={200: answers.MessagePage(room="general", data=(shown.READ,), total=1, limit=100, offset=0)},
        refuses=(MALFORMED, errors.MalformedRequest(message=f"offset must be a whole number from 0 to {SEQ_MAX}")),
    ),
    HttpOperation(
        route="GET /api/rooms/{room}/stats",
        name="getRoomStats",
        subject="rooms",
        summary="Counts of a room",
        gives={200: answers.RoomStatistics(room="general", data=shown.COUNTS)},
        refuses=(MALFORMED,),
    ),
    HttpOperation(
        route="GET /api/health",
        name="health",
        subject="operations",
        summary="Whether the process answers, without a query to the store",
        gives={200: answers.Healthy(message="Server is healthy", timestamp=shown.AT)},
    ),
    HttpOperation(
        route="GET /api/ready",
        name="ready",
        subject="operations",
        summary="Whether the store accepts messages, and the bus delivers the server's own events",
        about="Answers within a second. docs/ERRORS.md lists the reasons.",
        gives={
            200: answers.Said(message="Server is ready"),
            503: answers.Problem(message="Service temporarily unavailable", reason="database unreachable"),
        },
    ),
    HttpOperation(
        route="GET /metrics",
        name="metrics",
        subject="operations",
        summary="Prometheus text",
        about="`CHATSYS_METRICS=off` disables it.",
        gives={200: Media("text/plain")},
        refuses=(errors.NotFound("Route /metrics not found"),),
    ),
    HttpOperation(
        route="GET /",
        name="about",
        subject="operations",
        summary="Describes this server; a browser gets a page with links",
        gives={
            200: (
                answers.About(
                    message=ABOUT,
                    version="1.0.0",
                    documentation=DOCS,
                    stats=answers.SessionCounts(active_users=2, total_rooms=1),
                    endpoints={"health": "GET /api/health"},
                ),
                Media(HTML),
            ),
            304: None,
        },
    ),
    HttpOperation(
        route="GET /openapi.json",
        name="openapi",
        subject="operations",
        summary="This document",
        gives={200: Media(JSON), 304: None},
    ),
    HttpOperation(
        route="GET /asyncapi.json",
        name="asyncapi",
        subject="operations",
        summary="The Socket.IO events, as AsyncAPI",
        gives={200: Media(JSON), 304: None},
    ),
    HttpOperation(route=f"GET {DOCS}", name="docs", subject="pages", summary="Both documents to read", gives=_PAGE),
    HttpOperation(route="GET /chat", name="chat", subject="pages", summary="The web client", gives=_PAGE),
    HttpOperation(
        route="GET /chat/{name}",
        name="chatFile",
        subject="pages",
        summary="A file of the web client",
        gives=_FILE,
        refuses=(errors.NotFound("Route /chat/nothing.js not found"),),
    ),
)


def _listed(subject: str) -> list[str]:
    return [row.route.replace("{", ":").replace("}", "") for row in OPERATIONS if row.subject == subject]


ENDPOINTS = {**{subject: _listed(subject) for subject in ("auth", "users", "rooms")}, "health": "GET /api/health"}
"""What ``GET /`` lists."""
