"""What ends a check before its end."""

from __future__ import annotations


class CheckFailed(Exception):
    """The server does something else than the protocol says; the text says what."""


class NotApplicable(Exception):
    """The check cannot judge this server; the text says why."""
