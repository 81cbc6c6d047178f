"""Verbs on accounts: register, log in, look up, change, delete (contract §4 and §5)."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from chatsys import errors
from chatsys.chat.bundle import PAUSE, Chat, new_id
from chatsys.chat.endings import publish_ended
from chatsys.model import rules
from chatsys.model.values import LoginAttempt, User, UserChanges

Fields = Mapping[str, Any]

DELETION_AGE = timedelta(seconds=60)
"""The age from which any server resumes an unfinished deletion."""


def claims_of(chat: Chat, token: str | None) -> dict[str, Any]:
    """The claims of the token. Raises TokenMissing or TokenInvalid."""
    if not token:
        raise errors.TokenMissing
    return chat.tokens.verify(token)


async def register(chat: Chat, fields: Fields, address: str = "") -> tuple[User, str]:
    """Create an account from ``username``, ``email``, ``password`` and optional profile texts.

    Returns the user and a token. ``address`` is the client's: the password queue is fair between addresses. Raises
    InvalidInput with every invalid field, UserExists, or Overloaded.
    """
    _refuse(
        rules.username_error(fields.get("username")),
        rules.email_error(fields.get("email")),
        rules.password_error(fields.get("password")),
        *_profile_errors(fields),
    )
    username: str = fields["username"]
    async with chat.passwords.slot(address):
        password_hash = await chat.passwords.hash(fields["password"])
    now = chat.clock.now()
    user = User(
        user_id=new_id(),
        username=username,
        email=rules.clean_surrogates(fields["email"]).lower(),
        password_hash=password_hash,
        display_name=rules.clean_surrogates(fields.get("displayName") or username),
        avatar=rules.clean_surrogates(fields.get("avatar") or rules.default_avatar(username)),
        bio=rules.clean_surrogates(fields.get("bio") or ""),
        online=False,
        last_seen=None,
        created_at=now,
        last_login=None,
    )
    user = await chat.store.create_user(user)
    return user, chat.tokens.issue(user, now)


async def login(chat: Chat, fields: Fields, address: str) -> tuple[User, str]:
    """Log in by username or email; return the user, with its new ``last_login``, and a token.

    Failures are counted for ``address``, the client's. Raises InvalidInput, InvalidCredentials, TooManyAttempts or
    Overloaded.
    """
    name: Any = fields.get("username")
    password: Any = fields.get("password")
    _refuse(
        _login_error("Username", name, "Username or email is required"),
        _login_error("Password", password, "Password is required"),
    )
    attempt = LoginAttempt(
        typed=rules.clean_surrogates(name.strip()),
        address=address,
        limit=chat.limits.login_attempts,
        window=timedelta(seconds=chat.limits.login_window),
    )
    async with chat.passwords.slot(address):
        user, failures = await chat.store.find_login(attempt)
        _refuse_attempt(chat, attempt, failures)
        known = await chat.passwords.matches(password, user.password_hash if user else None)
    now = chat.clock.now()
    if user is None or not known:
        failures = await chat.store.record_failure(attempt, now)
        _refuse_attempt(chat, attempt, failures[:-1])  # concurrent guesses have all passed the first check
        raise errors.InvalidCredentials
    entered = await chat.store.record_login(user.user_id, now, attempt)
    if entered is None:
        _, failures = await chat.store.find_login(attempt)
        _refuse_attempt(chat, attempt, failures)
        raise errors.InvalidCredentials
    return entered, chat.tokens.issue(entered, now)


def _refuse_attempt(chat: Chat, attempt: LoginAttempt, failures: Sequence[datetime]) -> None:
    until = attempt.refused_until(failures)
    left = (until - chat.clock.now()).total_seconds() if until is not None else 0
    if left > 0:
        raise errors.TooManyAttempts(math.ceil(left))


async def profile(chat: Chat, user_id: str) -> User:
    """The account. Raises UserNotFound, also for an id that is not a UUID."""
    return _found(await chat.store.user_by_id(user_id))


async def newest_users(chat: Chat) -> list[User]:
    """The newest accounts, newest first."""
    return await chat.store.list_users(chat.limits.users)


async def search(chat: Chat, text: str) -> list[User]:
    """Accounts whose username or display name contains ``text``; none for a text that no name can contain."""
    if "\0" in text or len(text) > rules.DISPLAY_NAME_MAX:
        return []
    return await chat.store.search_users(rules.clean_surrogates(text), chat.limits.search)


async def change_profile(chat: Chat, token: str | None, user_id: str, fields: Fields, address: str = "") -> User:
    """Change the token's own account; return the changed account.

    Raises TokenMissing, TokenInvalid, Forbidden, UserNotFound, InvalidInput or WrongPassword, checked in this order,
    or Overloaded. After an error, nothing has changed.
    """
    _require_own(chat, token, user_id)
    user = await profile(chat, user_id)
    current, new = fields.get("currentPassword"), fields.get("newPassword")
    _refuse(
        *_profile_errors(fields),
        None if current is None or isinstance(current, str) else "Current password must be a string",
        None if new is None or isinstance(new, str) else "New password must be a string",
        rules.password_error(new, "New password") if isinstance(current, str) and isinstance(new, str) else None,
        _null_error("Current password", current),
    )
    password_hash = None
    if isinstance(current, str) and isinstance(new, str):
        async with chat.passwords.slot(address):
            if not await chat.passwords.matches(current, user.password_hash):
                raise errors.WrongPassword
            password_hash = await chat.passwords.hash(new)
    changes = UserChanges(
        display_name=_changed(fields.get("displayName"), user.username),
        avatar=_changed(fields.get("avatar"), rules.default_avatar(user.username)),
        bio=_changed(fields.get("bio"), ""),
        password_hash=password_hash,
    )
    return _found(await chat.store.update_user(user_id, changes))


async def delete_account(chat: Chat, token: str | None, user_id: str) -> None:
    """Delete the token's own account and everything it wrote; end its sessions and notify their rooms.

    Raises TokenMissing, TokenInvalid, Forbidden or UserNotFound.
    """
    _require_own(chat, token, user_id)
    sessions = await chat.store.user_sessions(user_id)
    try:
        ended = await chat.store.retire_user(user_id, chat.clock.now())
    except errors.StoreError:
        chat.endings.deletion(user_id, sessions)
        raise
    if ended is None:
        raise errors.UserNotFound
    await publish_ended(chat.fanout, ended)
    await purge(chat, user_id)


async def purge(chat: Chat, user_id: str) -> None:
    """Delete the data of a retired account in batches, with a pause as long as each batch took for other work."""
    more = True
    while more:
        started = time.monotonic()
        more = await chat.store.purge_user(user_id)
        if more:
            await asyncio.sleep(min(PAUSE, time.monotonic() - started))


async def finish_deletions(chat: Chat) -> None:
    """Resume deletions that a server began and did not finish within ``DELETION_AGE``."""
    for user_id in await chat.store.removed_users(chat.clock.now() - DELETION_AGE):
        await purge(chat, user_id)


def _require_own(chat: Chat, token: str | None, user_id: str) -> None:
    if claims_of(chat, token)["userId"] != user_id:
        raise errors.Forbidden


def _profile_errors(fields: Fields) -> tuple[str | None, ...]:
    return (
        rules.optional_text_error("Display name", fields.get("displayName"), rules.DISPLAY_NAME_MAX),
        rules.optional_text_error("Avatar", fields.get("avatar")),
        rules.optional_text_error("Bio", fields.get("bio")),
    )


def _login_error(field: str, value: object, required: str) -> str | None:
    if not isinstance(value, str) or not (value.strip() if field == "Username" else value):
        return required
    return _null_error(field, value)


def _null_error(field: str, value: object) -> str | None:
    return f"{field} must not contain a null character" if isinstance(value, str) and "\0" in value else None


def _changed(value: str | None, default: str) -> str | None:
    return None if value is None else rules.clean_surrogates(value) or default


def _refuse(*complaints: str | None) -> None:
    found = tuple(complaint for complaint in complaints if complaint is not None)
    if found:
        raise errors.InvalidInput(found)


def _found(user: User | None) -> User:
    if user is None:
        raise errors.UserNotFound
    return user
