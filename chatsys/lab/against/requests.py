"""Requests to the server of one side over HTTP and Socket.IO, and how long they take.

Each function performs one repetition. It returns ``time`` and ``CPU`` in microseconds per request, message or delivery,
as the median over the batches. CPU is the processor time of the server and of its database connections.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import numpy as np

from chatsys.errors import OperatorError
from chatsys.lab.against.measures import CPU, TIME
from chatsys.lab.against.sides import Running
from chatsys.lab.clients.scenarios import join_all
from chatsys.lab.clients.sending import POSTED, audited, deliveries, forget
from chatsys.lab.clients.sockets import RawClient, RawClients, event_frame
from chatsys.lab.datasets.synthetic import Synthetic
from chatsys.lab.provenance.machine import BUSY_SHARE
from chatsys.lab.workloads.operation import PAGE, demand

Figures = dict[str, float]
"""A figure for each measure."""
_PATIENCE = 30.0
_MESSAGE = event_frame("send-message", {"message": "x" * 64})
_WINDOW = 4


@dataclass(kw_only=True)
class Clients:
    """All clients of one server: ``alone`` and each of ``senders`` in its own room, ``audience`` in one room together.

    ``connection_bytes`` is the growth of the server's resident memory per connection.
    """

    running: Running
    rows: Synthetic
    sockets: RawClients
    alone: RawClient
    senders: list[RawClient]
    audience: list[RawClient]
    connection_bytes: float


@contextmanager
def connected_clients(running: Running, rows: Synthetic, *, senders: int, members: int) -> Iterator[Clients]:
    """All clients of one side in one round; their connections are closed after the block."""
    rooms = [f"alone {number}" for number in range(1 + senders)] + ["audience"] * members
    with RawClients(running.server.url) as sockets:
        sockets.connect()  # the first connection also pays for what the server allocates once
        before = running.server.resident_bytes
        for _ in rooms[1:]:
            sockets.connect()
        grown = running.server.resident_bytes - before
        join_all(sockets, rooms)
        yield Clients(
            running=running,
            rows=rows,
            sockets=sockets,
            alone=sockets.members[0],
            senders=sockets.members[1 : 1 + senders],
            audience=sockets.members[1 + senders :],
            connection_bytes=grown / len(rooms[1:]),
        )


def health(clients: Clients, calls: int, batch: int, seed: int) -> Figures:
    """GET /api/health, which needs no store."""

    def ask(http: socket.socket) -> None:
        demand(bool(_get(http, "/api/health")["success"]), "a healthy server")

    return _requested(clients, calls, batch, ask)


def find_user(clients: Clients, calls: int, batch: int, seed: int) -> Figures:
    """Find an account by its id."""
    rows, rng = clients.rows, _rng(seed)

    def ask(http: socket.socket) -> None:
        index = rng.randrange(rows.users)
        found = _get(http, f"/api/users/{rows.user_id(index)}")
        demand(found["user"]["username"] == rows.username(index), "the requested user")

    return _requested(clients, calls, batch, ask)


def page(clients: Clients, calls: int, batch: int, seed: int) -> Figures:
    """Get a page of 100 messages."""
    room = clients.rows.rooms[clients.rows.read_rooms[0]]

    def ask(http: socket.socket) -> None:
        found = _get(http, f"/api/rooms/{quote(room)}/messages?limit={PAGE}")
        demand(len(found["data"]) == PAGE, f"{PAGE} messages")

    return _requested(clients, calls, batch, ask)


def search(clients: Clients, calls: int, batch: int, seed: int) -> Figures:
    """Find accounts by a part of their name."""
    rows, rng = clients.rows, _rng(seed)

    def ask(http: socket.socket) -> None:
        text = rows.search_text(rng.randrange(rows.users))
        demand(bool(_get(http, f"/api/users/search/{text}")["results"]), f"users with {text}")

    return _requested(clients, calls, batch, ask)


def acknowledged(clients: Clients, calls: int, batch: int, seed: int) -> Figures:
    """From an event to its acknowledgement. The event reaches no other client and needs no store."""
    frame = event_frame("typing", False, 1)

    def ask() -> None:
        clients.alone.send(frame)
        demand(_arrives(clients.sockets, b"431["), "an acknowledgement")

    return _timed(clients, calls, batch, ask)


def echo(clients: Clients, calls: int, batch: int, seed: int) -> Figures:
    """From sending a message to receiving the sender's own copy."""

    def ask() -> None:
        clients.alone.send(_MESSAGE)
        demand(_arrives(clients.sockets, POSTED), "the sender's own copy")

    return _timed(clients, calls, batch, ask)


def fan_out(clients: Clients, calls: int, batch: int, seed: int) -> Figures:
    """Send ``calls`` messages to a room, with at most ``_WINDOW`` in flight. The figures are per delivery."""
    audience, sent, got = clients.audience, list[int](), 0
    everyone = len(audience)
    forget(audience)
    spent = _Spent(clients)
    deadline = time.monotonic() + _PATIENCE
    while got < calls * everyone and time.monotonic() < deadline:
        while len(sent) < calls and len(sent) * everyone - got < _WINDOW * everyone:
            sent.append(audience[0].send(_MESSAGE))
        got += clients.sockets.pump(0.05, POSTED)
    figures = spent.each(got)
    _audit(deliveries(audience, sent)[1])
    return figures


def senders(clients: Clients, calls: int, batch: int, seed: int) -> Figures:
    """Many clients send at once, each alone in a room. Each sends its next message when its own copy has arrived."""
    each = max(1, calls // len(clients.senders))
    sent: list[tuple[RawClient, int]] = []
    left = dict.fromkeys(clients.senders, each)
    done = 0

    def send(member: RawClient) -> None:
        left[member] -= 1
        sent.append((member, member.send(_MESSAGE)))

    def echoed(member: RawClient, _: int) -> None:
        nonlocal done
        done += 1
        if left[member]:
            send(member)

    forget(clients.senders)
    spent = _Spent(clients)
    deadline = time.monotonic() + _PATIENCE
    for member in clients.senders:
        send(member)
    while done < each * len(clients.senders) and time.monotonic() < deadline:
        clients.sockets.pump(0.05, POSTED, echoed)
    figures = spent.each(done)
    _audit(audited(clients.senders, sent))
    return figures


def _requested(clients: Clients, calls: int, batch: int, ask: Callable[[socket.socket], None]) -> Figures:
    """One repetition over a new connection: the server may have closed one that was idle since the last repetition."""
    address = urlsplit(clients.running.server.url)
    with socket.create_connection((address.hostname, address.port), timeout=_PATIENCE) as http:
        http.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ask(http)
        return _timed(clients, calls, batch, lambda: ask(http))


def _timed(clients: Clients, calls: int, batch: int, ask: Callable[[], None]) -> Figures:
    wall, used = [], []
    for _ in range(0, calls, batch):
        cpu, began = clients.running.cpu(), time.perf_counter_ns()
        for _ in range(batch):
            ask()
        wall.append(time.perf_counter_ns() - began)
        used.append(clients.running.cpu() - cpu)
    return medians(wall, used, batch)


def medians(wall: Sequence[int], cpu: Sequence[int], batch: int) -> Figures:
    """The figures of a call, from the nanoseconds of each batch."""
    return {TIME: float(np.median(wall)) / batch / 1e3, CPU: float(np.median(cpu)) / batch / 1e3}


def _get(http: socket.socket, path: str) -> dict[str, Any]:
    """The decoded answer to a request over an open connection."""
    http.sendall(f"GET {path} HTTP/1.1\r\nHost: lab\r\n\r\n".encode())
    got = b""
    while (end := got.find(b"\r\n\r\n")) < 0:
        got += _piece(http)
    lines = got[:end].lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), None)
    if length is None:
        raise OperatorError(f"The answer to {path} has no Content-Length.")
    while len(got) < end + 4 + length:
        got += _piece(http)
    answer: dict[str, Any] = msgspec.json.decode(got[end + 4 :])
    return answer


def _piece(http: socket.socket) -> bytes:
    piece = http.recv(262_144)
    if not piece:
        raise OperatorError("The server closed a connection that was in use.")
    return piece


def _arrives(sockets: RawClients, marker: bytes) -> bool:
    """Read until a packet with ``marker`` has arrived; False if it does not arrive in time."""
    sockets.keeping, arrived = False, 0
    deadline = time.monotonic() + _PATIENCE
    while not arrived and time.monotonic() < deadline:
        arrived = sockets.pump(0.05, marker)
    sockets.keeping = True
    return arrived > 0


class _Spent:
    """The time and processor time that a repetition with many clients has spent since this object was created."""

    def __init__(self, clients: Clients) -> None:
        self._running = clients.running
        self._before = self._now()

    def each(self, count: int) -> Figures:
        """The figures per message, for ``count`` messages.

        ``time`` is left out if the load generator used its whole processor: it would have measured itself.
        """
        wall, cpu, own = (after - before for before, after in zip(self._before, self._now(), strict=True))
        found = {CPU: cpu / 1e3 / count}
        if own <= BUSY_SHARE * wall:
            found[TIME] = wall / 1e3 / count
        return found

    def _now(self) -> tuple[int, int, int]:
        return time.perf_counter_ns(), self._running.cpu(), time.process_time_ns()


def _audit(faults: dict[str, int]) -> None:
    demand(not any(faults.values()), f"each message exactly once, in order, but there were {faults}")


def _rng(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - draws of a benchmark, to be repeated by seed
