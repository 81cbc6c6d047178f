"""A proxy that simulates the distance between two machines by delaying all data that passes through it.

``python -m chatsys.lab.network.delay TARGET SECONDS`` prints the port of 127.0.0.1 on which it listens, and delays each
piece by SECONDS in each direction. TARGET is host:port or the path of a Unix socket. The proxy is a process of its own
and waits in ``select``, whose timer counts microseconds: the timers of an event loop count milliseconds. It ends when
its standard input ends. :func:`round_trip` measures the actual delay.
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

_TIMER_SLACK = 29  # PR_SET_TIMERSLACK of prctl(2): by how many nanoseconds the kernel may wake a process late
_PIECE = 65_536
_IDLE = 1.0  # seconds to wait in select when no piece is delayed
_STUCK = 5.0  # seconds within which the other end must accept data
_START = 10.0
_PINGS = 200


class _Direction:
    """One direction of a connection: the delayed pieces, and when each is due."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.ended = False


def serve(target: str, seconds: float) -> None:
    """Delay and forward data until standard input ends."""
    with suppress(OSError, AttributeError):  # only Linux has prctl
        ctypes.CDLL(None).prctl(_TIMER_SLACK, 1, 0, 0, 0)
    directions: dict[socket.socket, _Direction] = {}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            due = min((direction.waiting[0][0] for direction in directions.values() if direction.waiting), default=None)
            pause = _IDLE if due is None else max(0.0, due - time.monotonic())
            sources = [source for source, direction in directions.items() if not direction.ended]
            ready = select.select([sys.stdin, listener, *sources], [], [], pause)[0]
            now = time.monotonic()
            for each in ready:
                if each is sys.stdin:
                    return
                if each is listener:
                    _join(directions, listener.accept()[0], target)
                elif each in directions:
                    _take(directions, each, now + seconds)
            _pass_on(directions)


def _join(directions: dict[socket.socket, _Direction], near: socket.socket, target: str) -> None:
    try:
        far = _connected(target)
    except OSError:
        near.close()
        return
    for end in (near, far):
        end.settimeout(_STUCK)
        if end.family != socket.AF_UNIX:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    directions[near], directions[far] = _Direction(near, far), _Direction(far, near)


def _connected(target: str) -> socket.socket:
    if target.startswith("/"):
        far = socket.socket(socket.AF_UNIX)
        far.connect(target)
        return far
    host, _, port = target.rpartition(":")
    return socket.create_connection((host, int(port)), _STUCK)


def _take(directions: dict[socket.socket, _Direction], source: socket.socket, due: float) -> None:
    direction = directions[source]
    try:
        piece = source.recv(_PIECE)
    except OSError:
        piece = b""
    direction.waiting.append((due, piece))  # the end of the stream is delayed as well
    direction.ended = not piece


def _pass_on(directions: dict[socket.socket, _Direction]) -> None:
    for direction in list(directions.values()):
        while direction.waiting and direction.waiting[0][0] <= time.monotonic():
            _, piece = direction.waiting.popleft()
            try:
                if piece:
                    direction.sink.sendall(piece)
                else:
                    direction.sink.shutdown(socket.SHUT_WR)
            except OSError:
                direction.ended = True
                direction.waiting.clear()
        other = directions.get(direction.sink)
        if direction.ended and not direction.waiting and (other is None or (other.ended and not other.waiting)):
            for end in (direction.source, direction.sink):
                directions.pop(end, None)
                end.close()


@contextmanager
def delayed(target: str, seconds: float, cpu: int | None = None) -> Iterator[int]:
    """The port of a proxy in front of ``target`` that delays each piece by ``seconds`` in each direction."""
    command = [sys.executable, "-m", "chatsys.lab.network.delay", target, repr(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if cpu is not None:
            os.sched_setaffinity(process.pid, {cpu})
        line = process.stdout.readline().strip() if select.select([process.stdout], [], [], _START)[0] else b""
        if not line.isdigit():
            raise OperatorError("The delay proxy did not start.")
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
    """``url`` with the proxy at ``port`` as its server."""
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name not in ("host", "port")])
    return parts._replace(netloc=f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}", query=query).geturl()


def target_of(url: str) -> str:
    """The address at which the server of ``url`` listens, as a target of :func:`delayed`."""
    address = read_url(url)
    if address.host.startswith("/"):
        return f"{address.host}/.s.PGSQL.{address.port}"
    return f"{address.host}:{address.port}"


def round_trip(seconds: float, cpu: int | None = None) -> float:
    """The median seconds of a round trip through such a proxy to an echo server."""
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
