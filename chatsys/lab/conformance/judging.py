"""The exceptions that end a check early."""

from __future__ import annotations


class CheckFailed(Exception):
    """The server deviates from the protocol; the message says how."""


class NotApplicable(Exception):
    """The check cannot judge this server; the message says why."""
