"""Log lines on standard error, for people or as JSON, each with the request or socket that it concerns."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime

import msgspec

_about: ContextVar[dict[str, str] | None] = ContextVar("about", default=None)


def short_id() -> str:
    """Eight hexadecimal digits: enough to tell the requests of a log apart."""
    return secrets.token_hex(4)


@contextlib.contextmanager
def about(**subject: str) -> Iterator[None]:
    """Add this subject, e.g. ``request=<id>`` or ``socket=<sid>``, to the lines logged within the block."""
    token = _about.set(subject)
    try:
        yield
    finally:
        _about.reset(token)


def mark(**subject: str) -> None:
    """Like :func:`about`, for the rest of the current task."""
    _about.set(subject)


class TextFormatter(logging.Formatter):
    """``time level logger [subject] message``, with the traceback of an exception below."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        subject = "".join(f" [{kind}={name}]" for kind, name in (_about.get() or {}).items())
        text = f"{_time(record)} {record.levelname} {record.name}{subject} {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonFormatter(logging.Formatter):
    """One object per line: time, level, logger, message, the subject's keys, and an exception's traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as JSON."""
        line = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **(_about.get() or {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def configure(log_format: str) -> None:
    """Write log lines of level INFO and above to standard error, in the ``text`` or the ``json`` format."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("uvicorn", "uvicorn.error", "websockets.server", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
