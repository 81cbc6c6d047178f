"""Verbs on accounts: register, log in, look up, change, delete (contract §4 and §5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatsys.chat.bundle import Chat, new_id
from chatsys.chat.fanout import UserLeft
from chatsys.errors import (
    Forbidden,
    InvalidCredentials,
    InvalidInput,
    TokenMissing,
    UserNotFound,
    WrongPassword,
)
from chatsys.model import rules
from chatsys.model.values import User, UserChanges

Fields = Mapping[str, Any]


def claims_of(chat: Chat, token: str | None) -> dict[str, Any]:
    """The claims of a token that must be there. Raises TokenMissing or TokenInvalid."""
    if not token:
        raise TokenMissing
    return chat.tokens.verify(token)


async def register(chat: Chat, fields: Fields) -> tuple[User, str]:
    """Make an account from ``username``, ``email``, ``password`` and optional profile texts; the user and a token.

    Raises InvalidInput with all that is wrong, or UserExists.
    """
    _refuse(
        rules.username_error(fields.get("username")),
        rules.email_error(fields.get("email")),
        rules.password_error(fields.get("password")),
        *_profile_errors(fields),
    )
    username: str = fields["username"]
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
    """Log in by username or email; the user with its new ``last_login`` and a token.

    ``address`` is the client's, against which failures are counted. Raises InvalidInput, InvalidCredentials
    or TooManyAttempts.
    """
    name: Any = fields.get("username")
    password: Any = fields.get("password")
    _refuse(
        _login_error("Username", name, "Username or email is required"),
        _login_error("Password", password, "Password is required"),
    )
    name = rules.clean_surrogates(name.strip())
    user = await (chat.store.user_by_email(name) if "@" in name else chat.store.user_by_name(name))
    account = user.user_id if user else name[:255].lower()
    chat.attempts.check(account, address)
    known = await chat.passwords.matches(password, user.password_hash if user else None)
    chat.attempts.check(account, address)  # guesses sent side by side have all passed the first check
    if user is None or not known:
        chat.attempts.failed(account, address)
        raise InvalidCredentials
    chat.attempts.succeeded(account, address)
    now = chat.clock.now()
    user = await chat.store.record_login(user.user_id, now)
    if user is None:
        raise InvalidCredentials
    return user, chat.tokens.issue(user, now)


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


async def change_profile(chat: Chat, token: str | None, user_id: str, fields: Fields) -> User:
    """Change the token's own account; the account after it.

    Raises TokenMissing, TokenInvalid, Forbidden, UserNotFound, InvalidInput or WrongPassword, looked for in this
    order; whichever it is, nothing was changed.
    """
    user = await _own_account(chat, token, user_id)
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
        if not await chat.passwords.matches(current, user.password_hash):
            raise WrongPassword
        password_hash = await chat.passwords.hash(new)
    changes = UserChanges(
        display_name=_changed(fields.get("displayName"), user.username),
        avatar=_changed(fields.get("avatar"), rules.default_avatar(user.username)),
        bio=_changed(fields.get("bio"), ""),
        password_hash=password_hash,
    )
    return _found(await chat.store.update_user(user_id, changes))


async def delete_account(chat: Chat, token: str | None, user_id: str) -> None:
    """Delete the token's own account with all it wrote; its sessions end and the rooms are told.

    Raises TokenMissing, TokenInvalid, Forbidden or UserNotFound.
    """
    if claims_of(chat, token)["userId"] != user_id:
        raise Forbidden
    ended = await chat.store.delete_user(user_id, chat.clock.now())
    if ended is None:
        raise UserNotFound
    for session in ended:
        await chat.fanout.publish(UserLeft(room=session.session.room, ended=session))


async def _own_account(chat: Chat, token: str | None, user_id: str) -> User:
    if claims_of(chat, token)["userId"] != user_id:
        raise Forbidden
    return _found(await chat.store.user_by_id(user_id))


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


def _refuse(*errors: str | None) -> None:
    found = tuple(error for error in errors if error is not None)
    if found:
        raise InvalidInput(found)


def _found(user: User | None) -> User:
    if user is None:
        raise UserNotFound
    return user
