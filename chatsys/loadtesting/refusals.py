"""Checks before a run starts: each returns one sentence that says what to do. Also ends workers with their master."""

from __future__ import annotations

import os
import signal
import sys
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent import socket
from locust.exception import RPCError

from chatsys.loadtesting.weights import ACTIVITIES

TAGS = tuple(dict.fromkeys(activity.tag for activity in ACTIVITIES.values()))
STARTED_IN = os.getpid()
"""The process that read the locustfile. With ``--processes`` it is the master, and its workers are its children."""
PARENT_CHECK_INTERVAL = 1.0


def unusable(options: Any) -> str | None:
    """One sentence if one of our options has an unusable value; None if all are usable."""
    unknown = sorted({*(options.tags or ()), *(options.exclude_tags or ())} - set(TAGS))
    if not options.interval > 0:
        return f"--interval {options.interval:g}: a user's messages must be more than 0 seconds apart."
    if options.room_size < 1:
        return f"--room-size {options.room_size}: a room must have 1 user or more."
    if not 0 <= options.receipts <= 1:
        return f"--receipts {options.receipts:g}: give the share of users who send them, from 0 to 1."
    if not options.objective > 0:
        return f"--objective {options.objective:g}: give the push p99 to hold, more than 0 ms."
    if unknown:
        return f"No activity has the tag {', '.join(unknown)}: give --tags any of {' '.join(TAGS)}."
    return None


def nobody_listens(host: str) -> str | None:
    """One sentence if ``host`` is not an address or nothing listens there; otherwise None."""
    url = urlsplit(host)
    if url.scheme not in {"http", "https"} or not url.hostname:
        return f"{host} is not an address: give --host http://name:port."
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        socket.create_connection((url.hostname, port), timeout=5).close()
    except (OSError, ValueError) as error:
        return f"Nothing listens at {host} ({error}): start the server with `chatsys serve`, or give another --host."
    return None


def page_impossible(host: str, port: int) -> str | None:
    """One sentence if Locust's page can't listen there, otherwise None. Locust itself would print a traceback."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return f"Locust's page can't listen on port {port} ({error.strerror}): give another --web-port, or --headless."
    return None


def explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """``sys.excepthook``: if a master's port is taken, say so. This happens before any of Locust's events."""
    if issubclass(kind, RPCError):
        sys.stderr.write(f"{error}. Give another --master-bind-port, and the same --master-port to the workers.\n")
    else:
        sys.__excepthook__(kind, error, trace)


def end_with_parent() -> None:
    """End a child process of ``--processes`` once its parent has ended. In the parent this only waits."""
    while os.getpid() == STARTED_IN or os.getppid() == STARTED_IN:
        gevent.sleep(PARENT_CHECK_INTERVAL)
    os.kill(os.getpid(), signal.SIGTERM)
