"""A network between two programs of one machine: a proxy that holds back what passes through it.

``python -m chatsys.lab.network.delay TARGET SECONDS`` (TARGET is a Unix socket's path or host:port) says the port of
127.0.0.1 on which it listens, and holds back each piece for so long in each direction. It is a process of its own,
which sleeps in ``select`` with a timer of microseconds: an event loop's timers are of milliseconds. It ends when
its standard input does. What the delay really is, :func:`round_trip` measures through it.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qsl, urlencode, urlsplit

from chatsys.errors import OperatorError
from chatsys.store.address import read_url

_TIMER_SLACK = 29  # PR_SET_TIMERSLACK of prctl(2): the kernel may wake a process so many nanoseconds late
_PIECE = 65_536
_IDLE = 1.0  # seconds between two looks when nothing is under way
_STUCK = 5.0  # seconds within which the other end must take what is sent
_START = 10.0
_PINGS = 200


class _Way:
    """One direction of a connection: what came and when it is to leave."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.ended = False


def serve(target: str, seconds: float) -> None:
    """Hold back and pass on until standard input ends."""
    with suppress(OSError, AttributeError):  # Linux alone
        ctypes.CDLL(None).prctl(_TIMER_SLACK, 1, 0, 0, 0)
    ways: dict[socket.socket, _Way] = {}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            due = min((way.waiting[0][0] for way in ways.values() if way.waiting), default=None)
            pause = _IDLE if due is None else max(0.0, due - time.monotonic())
            sources = [source for source, way in ways.items() if not way.ended]
            ready = select.select([sys.stdin, listener, *sources], [], [], pause)[0]
            now = time.monotonic()
            for each in ready:
                if each is sys.stdin:
                    return
                if each is listener:
                    _join(ways, listener.accept()[0], target)
                elif each in ways:
                    _take(ways, each, now + seconds)
            _pass_on(ways)


def _join(ways: dict[socket.socket, _Way], near: socket.socket, target: str) -> None:
    try:
        far = _connected(target)
    except OSError:
        near.close()
        return
    for end in (near, far):
        end.settimeout(_STUCK)
        if end.family != socket.AF_UNIX:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ways[near], ways[far] = _Way(near, far), _Way(far, near)


def _connected(target: str) -> socket.socket:
    if target.startswith("/"):
        far = socket.socket(socket.AF_UNIX)
        far.connect(target)
        return far
    host, _, port = target.rpartition(":")
    return socket.create_connection((host, int(port)), _STUCK)


def _take(ways: dict[socket.socket, _Way], source: socket.socket, due: float) -> None:
    way = ways[source]
    try:
        piece = source.recv(_PIECE)
    except OSError:
        piece = b""
    way.waiting.append((due, piece))  # an end is held back as well
    way.ended = not piece


def _pass_on(ways: dict[socket.socket, _Way]) -> None:
    for way in list(ways.values()):
        while way.waiting and way.waiting[0][0] <= time.monotonic():
            _, piece = way.waiting.popleft()
            try:
                if piece:
                    way.sink.sendall(piece)
                else:
                    way.sink.shutdown(socket.SHUT_WR)
            except OSError:
                way.ended = True
                way.waiting.clear()
        other = ways.get(way.sink)
        if way.ended and not way.waiting and (other is None or (other.ended and not other.waiting)):
            for end in (way.source, way.sink):
                ways.pop(end, None)
                end.close()


@contextmanager
def delayed(target: str, seconds: float, cpu: int | None = None) -> Iterator[int]:
    """The port of a proxy before ``target`` that holds back each piece for ``seconds`` in each direction."""
    command = [sys.executable, "-m", "chatsys.lab.network.delay", target, repr(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if cpu is not None:
            os.sched_setaffinity(process.pid, {cpu})
        line = process.stdout.readline().strip() if select.select([process.stdout], [], [], _START)[0] else b""
        if not line.isdigit():
            raise OperatorError("The proxy that delays did not start.")
        yield int(line)
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(_START)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def through(url: str, port: int) -> str:
    """The database of ``url``, reached by the proxy at ``port``."""
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name not in ("host", "port")])
    return parts._replace(netloc=f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}", query=query).geturl()


def target_of(url: str) -> str:
    """Where the server of ``url`` listens, as a target of :func:`delayed`."""
    address = read_url(url)
    if address.host.startswith("/"):
        return f"{address.host}/.s.PGSQL.{address.port}"
    return f"{address.host}:{address.port}"


def round_trip(seconds: float, cpu: int | None = None) -> float:
    """The median seconds of a round trip through such a proxy to a program that answers at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        echo = threading.Thread(target=_echo, args=(listener,), daemon=True)
        echo.start()
        with (
            delayed(f"127.0.0.1:{listener.getsockname()[1]}", seconds, cpu) as port,
            socket.create_connection(("127.0.0.1", port), _STUCK) as near,
        ):
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            taken = [_ping(near) for _ in range(_PINGS)]
    echo.join(_STUCK)
    return statistics.median(taken)


def _ping(near: socket.socket) -> float:
    began = time.perf_counter()
    near.sendall(b"x")
    near.recv(1)
    return time.perf_counter() - began


def _echo(listener: socket.socket) -> None:
    with suppress(OSError):
        far, _ = listener.accept()
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with far:
            while piece := far.recv(_PIECE):
                far.sendall(piece)


if __name__ == "__main__":
    serve(sys.argv[1], float(sys.argv[2]))
