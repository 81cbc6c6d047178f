"""Accounts that exist in a load test's own store before its server starts, so that a run does not wait for bcrypt.

All accounts have the same password and share its hash. A server on ``memory://`` loads them from a snapshot; a database
gets the same snapshot by COPY. Their tokens are issued with the secret with which the server starts.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from chatsys.chat.bundle import new_id
from chatsys.chat.passwords import Passwords
from chatsys.chat.tokens import Tokens
from chatsys.database import snapshot
from chatsys.database.opening import open_prepared_store
from chatsys.model.rules import default_avatar
from chatsys.model.values import User
from chatsys.store.opening import open_store

PASSWORD = "correct horse battery"  # noqa: S105 - of accounts that exist only during the run
LIFETIME = timedelta(days=7)
SNAPSHOT = "accounts.snapshot"


def fill(url: str, count: int, scratch: Path, secret: str) -> tuple[list[User], dict[str, str]]:
    """Create ``count`` accounts in the empty store ``url``, through a snapshot in ``scratch``.

    Returns the accounts, and the settings that the server needs.
    """
    return asyncio.run(_fill(url, count, scratch / SNAPSHOT, secret))


async def _fill(url: str, count: int, path: Path, secret: str) -> tuple[list[User], dict[str, str]]:
    with Passwords() as passwords:
        password_hash = await passwords.hash(PASSWORD)
    now = datetime.now(UTC)
    async with open_store("memory://") as store:
        users = [await store.create_user(_user(password_hash, now)) for _ in range(count)]
        await snapshot.write(store, path, now)
    settings = {"JWT_SECRET": secret}
    if url == "memory://":
        return users, settings | {"CHATSYS_SNAPSHOT": str(path)}
    async with open_prepared_store(url) as database:
        await snapshot.load(database, path)
    return users, settings


def _user(password_hash: str, now: datetime) -> User:
    username = f"load_{secrets.token_hex(8)}"
    return User(
        user_id=new_id(),
        username=username,
        email=f"{username}@load.example",
        password_hash=password_hash,
        display_name=username,
        avatar=default_avatar(username),
        bio="",
        online=False,
        last_seen=None,
        created_at=now,
        last_login=None,
    )


def write_for_locust(users: list[User], secret: str, host: str, path: Path, processes: int) -> None:
    """Write the accounts into files that ``locust --accounts path`` reads, one for each generator process."""
    tokens, now = Tokens(secret, LIFETIME), datetime.now(UTC)
    known = [
        {"username": user.username, "user_id": user.user_id, "token": tokens.issue(user, now), "password": PASSWORD}
        for user in users
    ]
    for number in range(processes):
        own = msgspec.json.encode({"host": host, "accounts": known[number::processes]})
        path.with_stem(f"{path.stem}-{number}").write_bytes(own)
