"""Registering, logging in and tokens (contract §4)."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from chatsys.chat import accounts
from chatsys.web.requests import address_of, chat_of, fields, token_of, while_connected
from chatsys.web.responses import ok
from chatsys.wire import answers, objects

router = APIRouter(prefix="/api/auth")


@router.post("/register")
async def register(request: Request) -> Response:
    """Create an account."""
    sent = await fields(request)
    work = accounts.register(chat_of(request), sent, address_of(request))
    user, token = await while_connected(request, work)
    profile = objects.own_profile(user, with_login=False)
    return ok(answers.LoggedIn(message="User registered successfully", user=profile, token=token), 201)


@router.post("/login")
async def login(request: Request) -> Response:
    """Log in by username or email."""
    sent = await fields(request)
    work = accounts.login(chat_of(request), sent, address_of(request))
    user, token = await while_connected(request, work)
    profile = objects.own_profile(user, with_login=True)
    return ok(answers.LoggedIn(message="Login successful", user=profile, token=token))


@router.get("/verify")
async def verify(request: Request) -> Response:
    """The claims of the caller's token."""
    claims = cast("answers.Claims", accounts.claims_of(chat_of(request), token_of(request)))
    return ok(answers.TokenClaims(message="Token is valid", user=claims))


@router.post("/logout")
async def logout(request: Request) -> Response:
    """Confirm the logout. Tokens are stateless, so nothing is revoked."""
    return ok(answers.Said(message="Logout successful"))
