"""Accounts as other users see them, and changes to the caller's own (contract §5)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from chatsys.chat import accounts
from chatsys.web.requests import address_of, chat_of, fields, parameter, token_of, while_connected
from chatsys.web.responses import ok
from chatsys.wire import answers, objects

router = APIRouter(prefix="/api/users")


@router.get("")
async def newest(request: Request) -> Response:
    """The newest accounts."""
    profiles = [objects.public_profile(user) for user in await accounts.newest_users(chat_of(request))]
    return ok(answers.UserList(users=profiles, total=len(profiles)))


@router.get("/search/{query}")
async def search(request: Request) -> Response:
    """Accounts by a part of their name."""
    query = parameter(request, "query")
    chat = chat_of(request)
    async with chat.reads.slot(address_of(request)):
        profiles = [objects.public_profile(user) for user in await accounts.search(chat, query)]
    return ok(answers.UserSearch(query=query, results=profiles, count=len(profiles)))


@router.get("/{userId}")
async def profile(request: Request) -> Response:
    """One account."""
    user = await accounts.profile(chat_of(request), parameter(request, "userId"))
    return ok(answers.OneUser(user=objects.public_profile(user)))


@router.put("/{userId}")
async def change(request: Request) -> Response:
    """Change the caller's own profile or password."""
    sent = await fields(request)
    user_id = parameter(request, "userId")
    work = accounts.change_profile(chat_of(request), token_of(request), user_id, sent, address_of(request))
    user = await while_connected(request, work)
    return ok(answers.ChangedUser(message="Profile updated successfully", user=objects.public_profile(user)))


@router.delete("/{userId}")
async def delete(request: Request) -> Response:
    """Delete the caller's own account."""
    await accounts.delete_account(chat_of(request), token_of(request), parameter(request, "userId"))
    return ok(answers.Said(message="User deleted successfully"))
