"""Tokens: JWT, HS256, stateless (contract §2)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import jwt

from chatsys.errors import TokenExpired, TokenInvalid
from chatsys.model.values import User

_ALGORITHM = "HS256"


class Tokens:
    """Sign tokens with one secret, and verify them with it or with the ``previous`` one."""

    def __init__(self, secret: str, lifetime: timedelta, previous: str | None = None) -> None:
        self._secret = secret
        self._previous = previous
        self._lifetime = int(lifetime.total_seconds())

    def issue(self, user: User, now: datetime) -> str:
        """A token for ``user``, valid from ``now`` for the lifetime."""
        issued = int(now.timestamp())
        claims = {
            "userId": user.user_id,
            "username": user.username,
            "email": user.email,
            "iat": issued,
            "exp": issued + self._lifetime,
        }
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def verify(self, token: str) -> dict[str, Any]:
        """The claims. Raises TokenInvalid for a token that does not verify, TokenExpired for one that has expired."""
        try:
            return _claims(token, self._secret)
        except TokenExpired:
            raise
        except TokenInvalid:
            if self._previous is None:
                raise
            return _claims(token, self._previous)


def _claims(token: str, secret: str) -> dict[str, Any]:
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            options={"require": ["exp", "iat"], "verify_iat": False},  # other servers' clocks may be ahead
        )
    except jwt.ExpiredSignatureError as error:
        raise TokenExpired from error
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:  # the header is not verified yet
        raise TokenInvalid from error
    if not all(isinstance(claims.get(name), str) for name in ("userId", "username", "email")):
        raise TokenInvalid
    return claims
