"""The experiments with a crowd, turn by turn: a crowd stays connected while others take theirs.

A turn gives plain data: counts, seconds, and raw latencies in microseconds.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Generator, Sequence
from itertools import cycle
from typing import Any
from urllib.parse import quote

from chatsys.client.requests import got
from chatsys.errors import OperatorError
from chatsys.lab.clients.sending import (
    PATIENCE,
    POSTED,
    Result,
    audited,
    broadcast,
    closed_loop,
    deliveries,
    effort,
    forget,
    poisson,
    spread,
    steady,
)
from chatsys.lab.clients.sockets import RawClient, RawClients
from chatsys.lab.workloads.floods import FLOODS, HALF_POSTS, hold_half_posts, write_flood

Turns = Generator[Result, dict[str, Any], None]
"""A scene: nothing when its crowd is ready, then the measurements of a turn each time it is told to take one."""

_HISTORY = b'["message-history"'
_LIST = b'["room-users"'
_READ = b'["message-read-update"'
_WIDE = 1_048_576  # bytes of a receive buffer
_WARM_UP = 0.1  # seconds
_SETTLED = 0.35  # seconds without a list of users: one may be held back for 250 ms (contract §10.2)


def fanout(crowd: RawClients, *, members: int, window: int = 4, text_bytes: int = 64) -> Turns:
    """One member sends for a turn's ``seconds``, all receive; at most ``window`` messages are on their way to somebody.

    What is measured runs from the first send of a turn to its last delivery.
    """
    _join(crowd, [f"fan-{time.monotonic_ns()}"] * members)
    sender, text = crowd.members[0], "x" * text_bytes
    broadcast(crowd, sender, text, _WARM_UP, window)
    order = yield {}
    while True:
        forget(crowd.members)
        with effort() as spent:
            sent = broadcast(crowd, sender, text, order["seconds"], window)
        latencies, audit = deliveries(crowd.members, sent)
        order = yield {"deliveries": len(latencies), **spent, **audit}


def senders(crowd: RawClients, *, senders: int, seconds: float, turns: int, text_bytes: int = 64) -> Turns:
    """Each sender alone in a room, in a closed loop: the next message leaves when the last one's echo is there.

    Warm-up: a fifth of ``seconds``. After ``turns`` turns comes what was ``sent`` in all, and what the server's room
    statistics count as ``stored``.
    """
    rooms = [f"solo-{time.monotonic_ns()}-{number}" for number in range(senders)]
    _join(crowd, rooms)
    text = "x" * text_bytes
    total = len(closed_loop(crowd, text, seconds / 5)[0])
    yield {}
    for _ in range(turns):
        forget(crowd.members)
        with effort() as spent:
            sent, latencies = closed_loop(crowd, text, seconds)
        total += len(sent)
        audit = audited(crowd.members, sent)
        yield {
            "latency_us": latencies,
            "throughput_per_second": len(latencies) / spent["seconds"],
            **spent,
            **audit,
        }
    yield {"sent": total, "stored": sum(_statistics(crowd.url, room)["totalMessages"] for room in rooms)}


def arrivals(crowd: RawClients, *, senders: int, text_bytes: int = 64) -> Turns:
    """An open loop: messages leave at the moments of a Poisson process, however long the earlier ones take.

    A turn's ``rate`` is in messages a second over all senders, who take turns, each alone in a room. Its response times
    run from the intended start, its service times from the actual one, both to the sender's own echo.
    """
    _join(crowd, [f"open-{time.monotonic_ns()}-{number}" for number in range(senders)])
    order = yield {}
    while True:
        forget(crowd.members)
        luck = random.Random(order["seed"])  # noqa: S311 - draws of a benchmark, to be repeated by seed
        with effort() as spent:
            sent, response, service, late = poisson(crowd, luck, order["rate"], order["seconds"], "x" * text_bytes)
        audit = audited(crowd.members, sent)
        order = yield {
            "latency_us": response,
            "service_us": service,
            "starts": len(sent),
            "late_starts": late,
            **spent,
            **audit,
        }


def push(crowd: RawClients, *, members: int, room_size: int, text_bytes: int = 64) -> Turns:
    """Many users in rooms of ``room_size``; a turn's ``rate`` is in messages a second over all rooms.

    The latencies are those of every delivery to every member.
    """
    names = [f"push-{time.monotonic_ns()}-{number}" for number in range(-(-members // room_size))]
    _join(crowd, [names[number // room_size] for number in range(members)])
    rooms = [crowd.members[start : start + room_size] for start in range(0, members, room_size)]
    order = yield {}
    while True:
        rng = random.Random(order["seed"])  # noqa: S311 - draws of a benchmark, to be repeated by seed
        order = yield spread(crowd, rooms, rng, order["rate"], order["seconds"], "x" * text_bytes)


def burst(crowd: RawClients, *, members: int, rate: float, text_bytes: int = 64) -> Turns:
    """A big room that gets ``rate`` messages a second, at intended times, for as many ``seconds`` as a turn says.

    Its members read afterwards: what hundreds of them take to read would delay others on the generator's processor.
    """
    _join(crowd, [f"burst-{time.monotonic_ns()}"] * members)
    order = yield {}
    while True:
        order = yield steady(crowd, crowd.members, (), rate, order["seconds"], "x" * text_bytes)


def probe(crowd: RawClients, *, rate: float, text_bytes: int = 64) -> Turns:
    """A room of two; the latency of each delivery to the one who only listens."""
    _join(crowd, [f"probe-{time.monotonic_ns()}"] * 2)
    order = yield {}
    while True:
        order = yield steady(crowd, crowd.members, crowd.members[1:], rate, order["seconds"], "x" * text_bytes)


def relay(crowd: RawClients, *, others: Sequence[str], rate: float, text_bytes: int = 64) -> Turns:
    """A room of two on the crowd's server, and of one more on each of the servers at the URLs ``others``.

    ``latency_us`` are those of the one who only listens on the sender's server; ``between_us`` how much later each of
    the others got the same message, and ``elsewhere_us`` their latencies.
    """
    for url in ("", "", *others):
        crowd.connect(url)
    join_all(crowd, [f"relay-{time.monotonic_ns()}"] * len(crowd.members))
    order = yield {}
    while True:
        got = steady(crowd, crowd.members, crowd.members[1:], rate, order["seconds"], "x" * text_bytes)
        here, elsewhere = got["latency_us"][: got["starts"]], got["latency_us"][got["starts"] :]
        between = [there - near for there, near in zip(elsewhere, cycle(here), strict=False)]
        order = yield {**got, "latency_us": here, "elsewhere_us": elsewhere, "between_us": between}


def beside(crowd: RawClients, *, room: str, others: int, rate: float, text_bytes: int = 64) -> Turns:
    """A member alone in a room of its own, whose messages come back to it, and ``others`` in ``room``, who read.

    A turn gives the latencies of the first, and how many of all have been ``disconnected`` since the start.
    """
    _join(crowd, [f"beside-{time.monotonic_ns()}", *[room] * others])
    alone = crowd.members[:1]
    order = yield {}
    while True:
        got = steady(crowd, alone, alone, rate, order["seconds"], "x" * text_bytes)
        order = yield {**got, "disconnected": sum(member.closed for member in crowd.members)}


def flood(crowd: RawClients, *, kind: str, room: str) -> Turns:
    """One client that does what it can for a turn's ``seconds``: the bytes it ``sent``, over how many connections.

    It gets a processor only when nobody else on this one wants it: whoever measures beside it is not to wait for it.
    """
    os.nice(19)
    order = yield {}
    while True:
        with effort() as spent:
            if kind == HALF_POSTS:
                done = hold_half_posts(crowd.url, order["seconds"])
            else:
                done = write_flood(crowd.url, FLOODS[kind], room, order["seconds"])
        order = yield {"sent": done.sent, "connections": done.connections, **spent}


def slow_reader(crowd: RawClients, *, members: int, rate: float, text: str) -> Turns:
    """A room under steady traffic, and one more member who reads it, or, in a turn that is ``stuck``, stops reading.

    That member comes in a turn before, which measures nothing: what joining costs is not what reading slowly costs.
    """
    room = f"slow-{time.monotonic_ns()}"
    _join(crowd, [room] * members)
    reading = tuple(crowd.members)
    got: Result = {}
    seen = 0
    while True:
        yield got
        last = crowd.connect()
        _ask_to_join(last, room, members, since=seen)
        crowd.pump_until(lambda: False, _SETTLED)
        order = yield {}
        if order["stuck"]:
            crowd.pause(last)
        got = steady(crowd, reading, reading, rate, order["seconds"], text)
        seen += got["starts"]
        if order["stuck"]:
            got["disconnected"] = _was_cut_off(last)
        crowd.dismiss(last)
        crowd.pump_until(lambda: False, _SETTLED)


def idle(crowd: RawClients, *, connections: int) -> Turns:
    """Connections that join nothing: ``connections`` more a turn, none of which is closed before the scene ends."""
    yield {}
    while True:
        for _ in range(connections):
            crowd.connect()
        crowd.pump(0.2)
        yield {"connections": sum(not member.closed for member in crowd.members)}


def storm(crowd: RawClients, *, members: int, seconds: float) -> Turns:
    """All join one new room within ``seconds``; what the server sends, and when each has the complete list of users."""
    found: Result = {}
    while True:
        yield found
        for _ in range(members):
            crowd.connect()
        room, started = f"storm-{time.monotonic_ns()}", time.monotonic()
        for number, member in enumerate(crowd.members):
            _ask_to_join(member, room, number)
            crowd.pump_before((started + (number + 1) * seconds / members) * 1e9, _LIST)
        crowd.pump_until(lambda: all(member.count for member in crowd.members), 60, _LIST)
        sizes: list[tuple[int, int]] = []
        while not (sizes and all(size == members for size, _ in sizes)) and time.monotonic() - started < 60:
            _until_quiet(crowd)  # a longer list comes after a longer pause
            sizes = [_last_list(member) for member in crowd.members]
        found = {
            "bytes": sum(len(piece) for member in crowd.members for _, piece in member.arrived),
            "lists": sum(member.count for member in crowd.members),
            "complete": sum(size == members for size, _ in sizes),
            "settled_seconds": max(at for _, at in sizes) / 1e9 - started,
        }
        crowd.empty()


def large_room(crowd: RawClients, *, members: int, vanishing: int, text_bytes: int = 64) -> Turns:
    """One room in three turns: all connect and join it, one sends to all for a turn's ``seconds``, ``vanishing`` close.

    It gets a processor only when nobody else on this one wants it: whoever measures beside it is not to wait for it.
    """
    os.nice(19)
    room = f"large-{time.monotonic_ns()}"
    yield {}
    with effort() as spent:
        _join(crowd, [room] * members)
    order = yield spent
    with effort() as spent:
        sent = broadcast(crowd, crowd.members[0], "x" * text_bytes, order["seconds"], 1)
    _, audit = deliveries(crowd.members, sent)
    yield {"starts": len(sent), **spent, **audit}
    gone = crowd.members[members - vanishing :]
    with effort() as spent:
        for member in gone:
            crowd.dismiss(member)
        deadline = time.monotonic() + PATIENCE
        while (left := _statistics(crowd.url, room)["activeUsers"]) > members - vanishing:
            if time.monotonic() > deadline:
                break
            crowd.pump_until(lambda: False, 0.1)
    yield {"left": left, **spent}


def receipts(crowd: RawClients, *, members: int) -> Turns:
    """One message; all other members answer with a read receipt at once; all updates to all are waited for.

    Each update names everybody who has read so far, so that n members get n³ names in all: they are counted only.
    """
    room = f"receipts-{time.monotonic_ns()}"
    _join(crowd, [room] * members)
    sender, *asked = crowd.members
    yield {}
    while True:
        forget(crowd.members)
        sender.emit("send-message", {"message": "read me"})
        crowd.pump_until(lambda: all(member.count for member in crowd.members), 30, POSTED)
        message_id = next(payload["id"] for _, event, payload in sender.events() if event == "receive-message")
        forget(crowd.members)
        crowd.keeping = False
        started = time.monotonic()
        for member in asked:
            member.emit("message-read", {"messageId": message_id, "room": room})
        done = crowd.pump_until(lambda: all(m.count >= members - 1 for m in crowd.members), PATIENCE, _READ)
        crowd.keeping = True
        yield {
            "updates": sum(member.count for member in crowd.members),
            "complete": done,
            "seconds": time.monotonic() - started,
        }


SCENARIOS: dict[str, Callable[..., Turns]] = {
    scene.__name__: scene
    for scene in (
        fanout,
        senders,
        arrivals,
        push,
        burst,
        probe,
        beside,
        relay,
        flood,
        slow_reader,
        idle,
        storm,
        large_room,
        receipts,
    )
}


def _ask_to_join(member: RawClient, room: str, number: int, **more: int) -> None:
    member.emit("join", {"username": f"member {number}", "userId": f"guest-{member.sid[:20]}", "room": room, **more})


def _join(crowd: RawClients, rooms: Sequence[str]) -> None:
    """Connect one member for each room name, and let it join."""
    for _ in rooms:
        crowd.connect()
    join_all(crowd, rooms)


def join_all(crowd: RawClients, rooms: Sequence[str]) -> None:
    """Let all members join at once, each its room, and wait until nothing more is sent about it.

    At once, since a big room that fills slowly sends its growing list of users to everybody again and again. Those
    lists are not kept: of 2,000 members they are a gigabyte.
    """
    crowd.keeping = False
    for number, (member, room) in enumerate(zip(crowd.members, rooms, strict=True)):
        _ask_to_join(member, room, number)
        crowd.pump(0, _HISTORY)
    joined = crowd.pump_until(lambda: all(member.count for member in crowd.members), 60, _HISTORY)
    if not joined:
        raise OperatorError("Not every member of the crowd could join within 60 seconds.")
    _until_quiet(crowd)
    crowd.keeping = True
    forget(crowd.members)


def _until_quiet(crowd: RawClients) -> None:
    """Read until no list has come for ``_SETTLED`` seconds."""
    quiet = time.monotonic()
    while time.monotonic() - quiet < _SETTLED:
        if crowd.pump(0.05, _LIST):
            quiet = time.monotonic()


def _last_list(member: RawClient) -> tuple[int, int]:
    """How many users the member's last list has, and when it came."""
    size, last = 0, 0
    for at, event, payload in member.events():
        if event == "room-users":
            size, last = len(payload), at
    return size, last


def _was_cut_off(member: RawClient) -> bool:
    """Whether the server has closed the connection of a member that does not read: what waits in it ends."""
    member.sock.settimeout(5)
    member.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WIDE)  # through a small window it takes a minute
    if hasattr(socket, "TCP_WINDOW_CLAMP"):  # Linux keeps the small window otherwise
        member.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, _WIDE)
    try:
        while member.sock.recv(262_144):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def _statistics(url: str, room: str) -> dict[str, int]:
    """What the server says of a room (contract §6.4)."""
    data: dict[str, int] = got(url, f"/api/rooms/{quote(room, safe='')}/stats")["data"]
    return data
