"""Accounts as others see them, and changing one's own (contract §5)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from chatsys.chat import accounts
from chatsys.web.requests import address_of, chat_of, fields, parameter, token_of, while_connected
from chatsys.web.responses import ok
from chatsys.wire import objects

router = APIRouter(prefix="/api/users")


@router.get("")
async def newest(request: Request) -> Response:
    """The newest accounts."""
    profiles = [objects.public_profile(user) for user in await accounts.newest_users(chat_of(request))]
    return ok(users=profiles, total=len(profiles))


@router.get("/search/{query}")
async def search(request: Request) -> Response:
    """Accounts by a part of their name."""
    query = parameter(request, "query")
    chat = chat_of(request)
    async with chat.reads.turn(address_of(request)):
        profiles = [objects.public_profile(user) for user in await accounts.search(chat, query)]
    return ok(query=query, results=profiles, count=len(profiles))


@router.get("/{user_id}")
async def profile(request: Request) -> Response:
    """One account."""
    user = await accounts.profile(chat_of(request), parameter(request, "user_id"))
    return ok(user=objects.public_profile(user))


@router.put("/{user_id}")
async def change(request: Request) -> Response:
    """Change one's own profile or password."""
    sent = await fields(request)
    user_id = parameter(request, "user_id")
    work = accounts.change_profile(chat_of(request), token_of(request), user_id, sent, address_of(request))
    user = await while_connected(request, work)
    return ok(message="Profile updated successfully", user=objects.public_profile(user))


@router.delete("/{user_id}")
async def delete(request: Request) -> Response:
    """Delete one's own account."""
    await accounts.delete_account(chat_of(request), token_of(request), parameter(request, "user_id"))
    return ok(message="User deleted successfully")
