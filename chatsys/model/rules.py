"""Pure rules: what a name, a room, an id and a text may be. No I/O, no clock.

The error texts are those of the protocol (contract §4.1). Limits count Unicode code points.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

DEFAULT_ROOMS = (
    ("general", "General discussion"),
    ("random", "Off-topic conversations"),
    ("tech", "Technology talk"),
)

ROOM_NAME_MAX = 100
GUEST_NAME_MAX = 50
GUEST_ID_MAX = 64
CLIENT_MESSAGE_ID_MAX = 64
DISPLAY_NAME_MAX = 100
"""The most characters of a display name, and of a search text."""

SEQ_MAX = 2**63 - 1
"""The greatest possible sequence number."""

_USERNAME = re.compile(r"[A-Za-z0-9_]+")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


def is_uuid(text: str) -> bool:
    """True for the canonical 8-4-4-4-12 form, in either letter case."""
    return _UUID.fullmatch(text) is not None


def milliseconds(moment: datetime) -> datetime:
    """``moment`` in UTC, truncated (not rounded) to whole milliseconds."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@lru_cache(maxsize=4096)
def default_avatar(username: str) -> str:
    """The generated avatar URL of contract §3.1."""
    return f"https://ui-avatars.com/api/?name={quote(username, safe='')}&background=667eea&color=fff"


def clean_surrogates(text: str) -> str:
    """``text`` with each lone surrogate replaced by U+FFFD; unchanged (the same object) if it has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def fold(text: str) -> str:
    """``text`` in lower case, as searches compare it. Each character becomes exactly one (simple lower-casing)."""
    return text.lower() if text.isascii() else "".join(character.lower()[0] for character in text)


def room_name(value: object) -> str | None:
    """The room name as sent, or None unless it has 1 to 100 characters, is not blank and has no U+0000."""
    if isinstance(value, str) and value.strip() and len(value) <= ROOM_NAME_MAX and "\0" not in value:
        return clean_surrogates(value)
    return None


def guest_name(value: object) -> str | None:
    """The guest name as sent, or None unless it has 1 to 50 characters, is not blank and has no U+0000."""
    if isinstance(value, str) and value.strip() and len(value) <= GUEST_NAME_MAX and "\0" not in value:
        return clean_surrogates(value)
    return None


def guest_id(value: object, socket_id: str) -> str:
    """The guest's id: the one sent if it has 1 to 64 characters and is not shaped like a UUID, else the socket id."""
    if isinstance(value, str) and 1 <= len(value) <= GUEST_ID_MAX and "\0" not in value and not is_uuid(value):
        return clean_surrogates(value)
    return socket_id


def message_text(value: object) -> str | None:
    """The text to store, or None unless it is a string with a non-white-space character and without U+0000."""
    if isinstance(value, str) and value.strip() and "\0" not in value:
        return clean_surrogates(value)
    return None


def username_error(value: object) -> str | None:
    """The error text for the first rule that the username breaks, or None."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return "Username is required"
    if not isinstance(value, str):
        return "Username must be a string"
    if len(value) < 3:
        return "Username must be at least 3 characters long"
    if len(value) > 30:
        return "Username must not exceed 30 characters"
    if _USERNAME.fullmatch(value) is None:
        return "Username can only contain letters, numbers, and underscores"
    return None


def email_error(value: object) -> str | None:
    """The error text for the first rule that the email breaks, or None."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return "Email is required"
    if not isinstance(value, str):
        return "Email must be a string"
    if _EMAIL.fullmatch(value) is None or "\0" in value:
        return "Invalid email format"
    if max(len(value), len(value.lower())) > 255:  # it is stored in lower case
        return "Email must not exceed 255 characters"
    return None


def password_error(value: object, field: str = "Password") -> str | None:
    """The error text for the first rule that the password breaks, or None."""
    if value is None or value == "":
        return f"{field} is required"
    if not isinstance(value, str):
        return f"{field} must be a string"
    if len(value) < 6:
        return f"{field} must be at least 6 characters long"
    if len(value) > 100:
        return f"{field} must not exceed 100 characters"
    if "\0" in value:
        return f"{field} must not contain a null character"
    return None


def optional_text_error(field: str, value: object, limit: int | None = None) -> str | None:
    """The error text for the rule that an optional profile text breaks, or None. The error text calls it ``field``."""
    if value is None:
        return None
    if not isinstance(value, str):
        return f"{field} must be a string"
    if "\0" in value:
        return f"{field} must not contain a null character"
    if limit is not None and len(value) > limit:
        return f"{field} must not exceed {limit} characters"
    return None
