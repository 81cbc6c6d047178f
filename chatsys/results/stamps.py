"""The stamp in a message's text: who sent it and when, so that each recipient can time its push.

The text is ``run.host.token.intended.sent words``. ``intended`` and ``sent`` are nanoseconds of the sending host's
monotonic clock, which all processes of one host share. A push from another host is counted but not timed.
"""

from __future__ import annotations

import hashlib
import random
import socket
import time
from pathlib import Path

import msgspec

_SENTENCE = "the quick brown fox jumps over the lazy dog while rain falls softly on an old tin roof and nobody minds"
WORDS = _SENTENCE.split()
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def _host() -> str:
    try:
        identity = _BOOT.read_text()
    except OSError:  # not Linux
        identity = socket.gethostname()
    return hashlib.blake2s(identity.encode(), digest_size=3).hexdigest()


HOST = _host()
"""The name of this host in a stamp."""

now = time.monotonic_ns


class Stamp(msgspec.Struct, gc=False):
    """The stamp of a message, with the sequence number and id that the server assigned."""

    run: str
    host: str
    token: str
    intended: int
    sent: int
    seq: int = 0
    message_id: str = ""


def text_of(run: str, token: str, intended: int, sent: int) -> str:
    """The text of a message: the stamp and 3 to 15 random words."""
    words = " ".join(random.choices(WORDS, k=random.randint(3, 15)))  # noqa: S311
    return f"{run}.{HOST}.{token}.{intended}.{sent} {words}"


def stamp_of(text: str) -> Stamp | None:
    """The stamp in a text, or None if it has none."""
    parts = text.partition(" ")[0].split(".")
    if len(parts) != 5 or not (parts[3].isdigit() and parts[4].isdigit()):
        return None
    return Stamp(parts[0], parts[1], parts[2], int(parts[3]), int(parts[4]))
