"""Accounts made before the run, so that the run does not measure bcrypt. A file keeps them for the next run."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec
from gevent.pool import Pool

from chatsys.loadtesting.rest import Rest, RestError

PASSWORD = "correct horse battery"  # noqa: S105
PREFIX = "load"
"""Prefix of every account (``load_…``) and room (``load-…``) that a run makes."""
_CONCURRENCY = 8
_LOG_EVERY = 250

log = logging.getLogger("loadtest.accounts")


class UserAccount(msgspec.Struct):
    """An account of the server under test, and a token for it."""

    username: str
    user_id: str
    token: str
    password: str = PASSWORD


class _File(msgspec.Struct):
    host: str
    accounts: list[UserAccount]


class _Registered(msgspec.Struct):
    class User(msgspec.Struct):
        userId: str  # noqa: N815

    user: User
    token: str


def fields(username: str) -> dict[str, str]:
    """The request fields that register this name."""
    return {"username": username, "email": f"{username}@load.example", "password": PASSWORD}


def registered(username: str, content: bytes) -> UserAccount:
    """The account in the server's response (contract §4.1)."""
    answer = msgspec.json.decode(content, type=_Registered)
    return UserAccount(username, answer.user.userId, answer.token)


def register(rest: Rest, username: str) -> UserAccount:
    """Make an account (contract §4.1). Raises RestError."""
    status, content, _ = rest.request("POST", "/api/auth/register", fields(username))
    if status != 201:
        body = " ".join(content[:120].decode("utf-8", "replace").split())
        raise RestError(f"POST /api/auth/register answered {status} {body}; is {rest.host} a chatsys server?")
    return registered(username, content)


def new_name() -> str:
    """An unused username. All begin with the same prefix, so that they can be found again."""
    return f"{PREFIX}_{secrets.token_hex(8)}"


class Accounts:
    """The accounts of this process, kept in ``path``; ``make(rest, username)`` registers one."""

    def __init__(self, rest: Rest, path: Path, make: Callable[[Rest, str], UserAccount]) -> None:
        self._rest = rest
        self._path = path
        self._make = make
        self._accounts: list[UserAccount] = []

    def prepare(self, count: int) -> None:
        """Load the file's accounts if they still work, and register more up to ``count``. Raises RestError."""
        self._accounts = self._still_working()
        missing = count - len(self._accounts)
        if missing <= 0:
            return
        log.info("Registering %d accounts; the server spends a bcrypt hash on each ...", missing)
        for n, account in enumerate(Pool(_CONCURRENCY).imap_unordered(self._register, range(missing)), 1):
            if isinstance(account, RestError):
                raise account
            self._accounts.append(account)
            if n % _LOG_EVERY == 0:
                log.info("%d of %d accounts registered", n, missing)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(msgspec.json.encode(_File(self._rest.host, self._accounts)))

    def of(self, number: int) -> UserAccount:
        """The account of user ``number`` of this process. Raises RestError if registering it fails."""
        while number >= len(self._accounts):
            self._accounts.append(self._make(self._rest, new_name()))
        return self._accounts[number]

    def some(self, number: int) -> UserAccount:
        """One of the accounts, in use or not; for looking at its profile."""
        return self._accounts[number % len(self._accounts)]

    def _still_working(self) -> list[UserAccount]:
        """The accounts of the file, if the last one can still log in at this host and its token is valid."""
        try:
            known = msgspec.json.decode(self._path.read_bytes(), type=_File)
        except (OSError, msgspec.DecodeError):
            return []
        if known.host != self._rest.host or not known.accounts:
            return []
        last = known.accounts[-1]
        if not last.token:  # this dialect has no accounts
            return known.accounts
        verified, _, _ = self._rest.request("GET", "/api/auth/verify", token=last.token)
        credentials = {"username": last.username, "password": last.password}
        status, _, _ = self._rest.request("POST", "/api/auth/login", credentials)
        return known.accounts if status == verified == 200 else []

    def _register(self, _number: int) -> UserAccount | RestError:
        """A new account, or the error as a value, because gevent prints a traceback if a greenlet raises."""
        try:
            return self._make(self._rest, new_name())
        except RestError as error:
            return error
