"""Reads what a client sent, strictly: tokens, bodies, path parameters, numbers in a query (§1.6, §1.9, §2.2)."""

from __future__ import annotations

import asyncio
import re
import urllib.parse
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from chatsys.chat.bundle import Chat
from chatsys.errors import ClientGone, MalformedRequest, RequestTooLarge

BODY_LIMIT = 102_400
"""Bytes of a request body."""

T = TypeVar("T")

_BIGGEST = 2**63 - 1
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_decode_json = msgspec.json.Decoder().decode


def chat_of(request: Request) -> Chat:
    """The chat that the application serves."""
    chat: Chat = request.app.state.chat
    return chat


def address_of(request: Request) -> str:
    """The client's address: the peer's, or what a trusted proxy forwarded."""
    return request.client.host if request.client else ""


def token_of(request: Request) -> str | None:
    """The second word of ``Authorization``, else ``x-access-token``, else None."""
    words = request.headers.get("authorization", "").split()
    return words[1] if len(words) > 1 else request.headers.get("x-access-token")


def parameter(request: Request, name: str) -> str:
    """A path parameter, percent-decoded once. Raises MalformedRequest for broken encoding and for U+0000."""
    raw: str = request.path_params[name]
    if "%" not in raw:
        return raw
    try:
        text = urllib.parse.unquote(raw, errors="strict")
    except UnicodeDecodeError as error:
        raise MalformedRequest from error
    if "\0" in text or _BROKEN_PERCENT.search(raw):
        raise MalformedRequest
    return text


def count(request: Request, name: str, default: int) -> int:
    """A non-negative integer of the query. Raises MalformedRequest for anything else."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,30}", text) or int(text) > _BIGGEST:
        raise MalformedRequest(message=f"{name} must be a whole number from 0 to {_BIGGEST}")
    return int(text)


async def fields(request: Request) -> dict[str, Any]:
    """The named fields of a JSON or form body; none if the body is missing, a JSON array, or of another type.

    Raises MalformedRequest for other or broken JSON, and RequestTooLarge for more than 102,400 bytes.
    """
    body = await _body(request)
    if not body:
        return {}
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        return _json_fields(body)
    if media_type == "application/x-www-form-urlencoded":
        return _form_fields(body)
    return {}


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do ``work`` for a request whose body has been read. If the client disconnects, cancel it and raise ClientGone."""
    task, gone = asyncio.create_task(work), asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and gone.exception() is None:
            raise ClientGone
        return await task
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.wait((task, gone))


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_LIMIT:
                raise RequestTooLarge
    except ClientDisconnect as error:
        raise MalformedRequest from error
    return bytes(body)


def _json_fields(body: bytes) -> dict[str, Any]:
    try:
        value = _decode_json(body)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest from error
    if isinstance(value, list):
        return {}
    if not isinstance(value, dict):
        raise MalformedRequest
    return value


def _form_fields(body: bytes) -> dict[str, Any]:
    """The pairs of a form. A repeated name has a list, which no text field accepts."""
    try:
        pairs = urllib.parse.parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=1000)
    except ValueError as error:
        raise MalformedRequest from error
    return {name: values[0] if len(values) == 1 else values for name, values in pairs.items()}
