"""Registering, logging in and tokens (contract §4)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from chatsys.chat import accounts
from chatsys.web.requests import address_of, chat_of, fields, token_of, while_connected
from chatsys.web.responses import ok
from chatsys.wire import objects

router = APIRouter(prefix="/api/auth")


@router.post("/register")
async def register(request: Request) -> Response:
    """Make an account."""
    sent = await fields(request)
    work = accounts.register(chat_of(request), sent, address_of(request))
    user, token = await while_connected(request, work)
    profile = objects.own_profile(user, with_login=False)
    return ok(201, message="User registered successfully", user=profile, token=token)


@router.post("/login")
async def login(request: Request) -> Response:
    """Log in by username or email."""
    sent = await fields(request)
    work = accounts.login(chat_of(request), sent, address_of(request))
    user, token = await while_connected(request, work)
    return ok(message="Login successful", user=objects.own_profile(user, with_login=True), token=token)


@router.get("/verify")
async def verify(request: Request) -> Response:
    """The claims of the caller's token."""
    return ok(message="Token is valid", user=accounts.claims_of(chat_of(request), token_of(request)))


@router.post("/logout")
async def logout(request: Request) -> Response:
    """Nothing is revoked: tokens are stateless."""
    return ok(message="Logout successful")
