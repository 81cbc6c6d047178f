"""Every HTTP endpoint, once: what it takes, what it gives, how it refuses, each with an example.

``chatsys.web.openapi`` makes the document of it. A test holds the table and the routes equal, and the answers of all
tests over HTTP are judged by it.
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
    """A parameter of the query."""

    name: str
    schema: Mapping[str, Any]
    about: str


class Media(msgspec.Struct, frozen=True):
    """An answer that is none of the types on the wire."""

    kind: str


class HttpOperation(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint. ``takes`` is an example of its body, ``gives`` one for each status, or one for each media type.

    None is an answer without a body.

    ``refuses`` has the errors that are its own; those of :data:`ALWAYS` can happen to any request.
    """

    method: str
    path: str
    name: str
    subject: str
    summary: str
    about: str = ""
    takes: requests.Sent | None = None
    gives: Mapping[int, Any]
    refuses: tuple[errors.ChatsysError, ...] = ()
    token: bool = False
    query: tuple[Parameter, ...] = ()


PARAMETERS = {
    "userId": "The account's id.",
    "query": "Any characters, percent-encoded; an encoded slash belongs to them.",
    "room": "The room's name, percent-encoded; an encoded slash belongs to it.",
    "name": "The file's path.",
}
"""What the parameters of paths are."""

SUBJECTS = {
    "auth": "Accounts and tokens. A token is valid until it expires, after a logout too.",
    "users": "Accounts as others see them, and one's own.",
    "rooms": "Who is where, and what was said. Unknown rooms are empty. Joining and sending are events.",
    "operations": "Health, readiness, metrics, and these documents.",
    "pages": "What a browser shows.",
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
"""How any request may be refused, whatever it asks for; examples by their names."""

MEANINGS = {
    400: "The request is wrong; `errors`, if it is there, has an entry for each wrong field.",
    401: "No token, an invalid one, or wrong credentials.",
    403: "It is another user's account.",
    404: "There is no such account, file or route.",
    408: "Head or body did not arrive in time; the connection is closed.",
    413: "The body is larger than 102,400 bytes.",
    429: "Too many failed logins with what was typed from this address.",
    431: "The head is larger than 64 KiB; the connection is closed.",
    499: "The client closed the connection first, so nobody sees this.",
    500: "A fault of the server, which its log explains.",
    503: "The store is away, or too much is waiting; send it again after `Retry-After`.",
    200: "Done.",
    201: "Made.",
    304: "The browser's copy is the newest.",
    308: "The address with a slash at its end, or without it, as `Location` says.",
}
"""What a status says."""

_LIMITS = ChatLimits()
_NUMBER = {"type": "integer", "minimum": 0, "maximum": SEQ_MAX}
_FILE = {200: Media("*/*"), 304: None}
_PAGE = {200: Media(HTML), 304: None, 308: None}

OPERATIONS = (
    HttpOperation(
        method="POST",
        path="/api/auth/register",
        name="register",
        subject="auth",
        summary="Make an account",
        takes=requests.Registration(username="alice", email="alice@example.org", password=WORD),
        gives={201: answers.LoggedIn(message="User registered successfully", user=shown.REGISTERED, token=shown.TOKEN)},
        refuses=(INCOMPLETE, MALFORMED, errors.UserExists(), errors.ClientGone()),
    ),
    HttpOperation(
        method="POST",
        path="/api/auth/login",
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
        method="GET",
        path="/api/auth/verify",
        name="verify",
        subject="auth",
        summary="The claims of one's token",
        token=True,
        gives={200: answers.TokenClaims(message="Token is valid", user=shown.CLAIMS)},
        refuses=NO_TOKEN,
    ),
    HttpOperation(
        method="POST",
        path="/api/auth/logout",
        name="logout",
        subject="auth",
        summary="Say goodbye; nothing is revoked",
        gives={200: answers.Said(message="Logout successful")},
    ),
    HttpOperation(
        method="GET",
        path="/api/users",
        name="listUsers",
        subject="users",
        summary=f"The newest {_LIMITS.users} accounts",
        gives={200: answers.UserList(users=(shown.PROFILE,), total=1)},
    ),
    HttpOperation(
        method="GET",
        path="/api/users/search/{query}",
        name="searchUsers",
        subject="users",
        summary="Accounts by a part of their name",
        about="A literal part of the username or display name, in any letter case; nothing for more than 100 "
        f"characters. At most {_LIMITS.search}, by username.",
        gives={200: answers.UserSearch(query="ali", results=(shown.PROFILE,), count=1)},
        refuses=(MALFORMED,),
    ),
    HttpOperation(
        method="GET",
        path="/api/users/{userId}",
        name="getUser",
        subject="users",
        summary="One account",
        gives={200: answers.OneUser(user=shown.PROFILE)},
        refuses=(MALFORMED, errors.UserNotFound()),
    ),
    HttpOperation(
        method="PUT",
        path="/api/users/{userId}",
        name="changeUser",
        subject="users",
        summary="Change one's own profile or password",
        about="Only the fields that are sent change. Whichever refusal it is, nothing was changed.",
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
        method="DELETE",
        path="/api/users/{userId}",
        name="deleteUser",
        subject="users",
        summary="Delete one's own account",
        about="Messages, receipts and sessions go with it.",
        token=True,
        gives={200: answers.Said(message="User deleted successfully")},
        refuses=(MALFORMED, *NO_TOKEN, errors.Forbidden(), errors.UserNotFound()),
    ),
    HttpOperation(
        method="GET",
        path="/api/rooms",
        name="listRooms",
        subject="rooms",
        summary="A page of the rooms by name",
        query=(
            Parameter(
                name="limit", schema={**_NUMBER, "default": _LIMITS.rooms}, about=f"At most {_LIMITS.rooms} are given."
            ),
            Parameter(name="after", schema={"type": "string"}, about="The name to go on after: `next` of a page."),
        ),
        gives={200: answers.RoomList(data=(shown.ROOM,), total=1)},
        refuses=(errors.MalformedRequest(message=f"limit must be a whole number from 0 to {SEQ_MAX}"),),
    ),
    HttpOperation(
        method="GET",
        path="/api/rooms/{room}/users",
        name="listRoomUsers",
        subject="rooms",
        summary=f"The newest {_LIMITS.members} sessions in a room",
        gives={200: answers.RoomMembers(room="general", count=1, data=(shown.MEMBER,), users=(shown.PRESENT,))},
        refuses=(MALFORMED,),
    ),
    HttpOperation(
        method="GET",
        path="/api/rooms/{room}/messages",
        name="listMessages",
        subject="rooms",
        summary="A page of the messages, oldest first",
        about="`limit` and `offset` count from the newest message, or with `before` from the newest one below that "
        "sequence number, which costs the same however far back it is. A page has at most `CHATSYS_PAGE_BYTES` bytes "
        "of messages, and at least one message. One that was cut for its bytes holds the newest that fit, and has "
        "`truncated` and `nextOffset`: send that as `offset`, with the same `before`, to go on.",
        query=(
            Parameter(
                name="limit", schema={**_NUMBER, "default": _LIMITS.history}, about=f"At most {_LIMITS.page} are given."
            ),
            Parameter(name="offset", schema={**_NUMBER, "default": 0}, about="How many are left out."),
            Parameter(name="before", schema=_NUMBER, about="A sequence number."),
        ),
        gives={200: answers.MessagePage(room="general", data=(shown.READ,), total=1, limit=100, offset=0)},
        refuses=(MALFORMED, errors.MalformedRequest(message=f"offset must be a whole number from 0 to {SEQ_MAX}")),
    ),
    HttpOperation(
        method="GET",
        path="/api/rooms/{room}/stats",
        name="getRoomStats",
        subject="rooms",
        summary="Counts of a room",
        gives={200: answers.RoomStatistics(room="general", data=shown.COUNTS)},
        refuses=(MALFORMED,),
    ),
    HttpOperation(
        method="GET",
        path="/api/health",
        name="health",
        subject="operations",
        summary="The process answers; the store is not asked",
        gives={200: answers.Healthy(message="Server is healthy", timestamp=shown.AT)},
    ),
    HttpOperation(
        method="GET",
        path="/api/ready",
        name="ready",
        subject="operations",
        summary="The store takes messages, and the server hears itself on the bus",
        about="Answers within a second. docs/ERRORS.md lists the reasons.",
        gives={
            200: answers.Said(message="Server is ready"),
            503: answers.Problem(message="Service temporarily unavailable", reason="database unreachable"),
        },
    ),
    HttpOperation(
        method="GET",
        path="/metrics",
        name="metrics",
        subject="operations",
        summary="Prometheus text",
        about="`CHATSYS_METRICS=off` removes it.",
        gives={200: Media("text/plain")},
        refuses=(errors.NotFound("Route /metrics not found"),),
    ),
    HttpOperation(
        method="GET",
        path="/",
        name="about",
        subject="operations",
        summary="What this server is; a page with links for a browser",
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
        method="GET",
        path="/openapi.json",
        name="openapi",
        subject="operations",
        summary="This document",
        gives={200: Media(JSON), 304: None},
    ),
    HttpOperation(
        method="GET",
        path="/asyncapi.json",
        name="asyncapi",
        subject="operations",
        summary="The Socket.IO events, as AsyncAPI",
        gives={200: Media(JSON), 304: None},
    ),
    HttpOperation(method="GET", path=DOCS, name="docs", subject="pages", summary="Both documents to read", gives=_PAGE),
    HttpOperation(method="GET", path="/chat", name="chat", subject="pages", summary="The web client", gives=_PAGE),
    HttpOperation(
        method="GET",
        path="/chat/{name}",
        name="chatFile",
        subject="pages",
        summary="A file of the web client",
        gives=_FILE,
        refuses=(errors.NotFound("Route /chat/nothing.js not found"),),
    ),
)


def _listed(subject: str) -> list[str]:
    rows = (row for row in OPERATIONS if row.subject == subject)
    return [f"{row.method} {row.path.replace('{', ':').replace('}', '')}" for row in rows]


ENDPOINTS = {
    **{subject: _listed(subject) for subject in ("auth", "users", "rooms")},
    "health": "GET /api/health",
}
"""What ``GET /`` lists."""
