"""The experiments with many clients. The clients stay connected between repetitions, while other subjects run.

A repetition yields plain data: counts, seconds, and raw latencies in microseconds.
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
from chatsys.lab.clients import sending
from chatsys.lab.clients.sockets import RawClient, RawClients
from chatsys.lab.workloads.floods import FLOODS, HALF_POSTS, hold_half_posts, write_flood

Scenario = Generator[sending.Result, dict[str, Any], None]
"""It yields ``{}`` when its clients are ready. Then each order sent to it yields the measurements of a repetition."""

_HISTORY = b'["message-history"'
_LIST = b'["room-users"'
_READ = b'["message-read-update"'
_TEXT = "x" * 64  # of every message
_WINDOW = 4  # messages in flight
_LARGE_BUFFER = 1_048_576  # bytes
_WARM_UP = 0.1  # seconds
_SETTLED = 0.35  # seconds without a list of users: the server may delay one by 250 ms (contract §10.2)


def fanout(clients: RawClients, *, members: int) -> Scenario:
    """One member sends for the ``seconds`` of an order and all receive, with at most ``_WINDOW`` messages in flight.

    The measured time runs from the first send to the last delivery.
    """
    _join(clients, [f"fan-{time.monotonic_ns()}"] * members)
    sender = clients.members[0]
    sending.broadcast(clients, sender, _TEXT, _WARM_UP, _WINDOW)
    order = yield {}
    while True:
        sending.forget(clients.members)
        with sending.effort() as spent:
            sent = sending.broadcast(clients, sender, _TEXT, order["seconds"], _WINDOW)
        latencies, audit = sending.deliveries(clients.members, sent)
        order = yield {"deliveries": len(latencies), **spent, **audit}


def senders(clients: RawClients, *, senders: int, seconds: float, repetitions: int) -> Scenario:
    """Each sender is alone in a room and sends in a closed loop: its next message leaves when the last echo arrived.

    The warm-up takes a fifth of ``seconds``. After all ``repetitions`` one more result has the number of messages
    ``sent`` in total, and the number ``stored`` according to the server's room statistics.
    """
    rooms = [f"solo-{time.monotonic_ns()}-{number}" for number in range(senders)]
    _join(clients, rooms)
    total = len(sending.closed_loop(clients, _TEXT, seconds / 5)[0])
    yield {}
    for _ in range(repetitions):
        sending.forget(clients.members)
        with sending.effort() as spent:
            sent, latencies = sending.closed_loop(clients, _TEXT, seconds)
        total += len(sent)
        audit = sending.audited(clients.members, sent)
        yield {"latency_us": latencies, "throughput_per_second": len(latencies) / spent["seconds"], **spent, **audit}
    yield {"sent": total, "stored": sum(_statistics(clients.url, room)["totalMessages"] for room in rooms)}


def arrivals(clients: RawClients, *, senders: int) -> Scenario:
    """An open loop: messages leave at the times of a Poisson process, however long the earlier ones take.

    The ``rate`` of an order is in messages per second over all senders, each alone in a room. They send one after
    another. Response times run from the intended start and service times from the actual one, both to the sender's own
    echo.
    """
    _join(clients, [f"open-{time.monotonic_ns()}-{number}" for number in range(senders)])
    order = yield {}
    while True:
        sending.forget(clients.members)
        rng = random.Random(order["seed"])  # noqa: S311 - draws of a benchmark, to be repeated by seed
        with sending.effort() as spent:
            sent, response, service, late = sending.poisson(clients, rng, order["rate"], order["seconds"], _TEXT)
        audit = sending.audited(clients.members, sent)
        order = yield {
            "latency_us": response,
            "service_us": service,
            "starts": len(sent),
            "late_starts": late,
            **spent,
            **audit,
        }


def push(clients: RawClients, *, members: int, room_size: int) -> Scenario:
    """Many users in rooms of ``room_size``. The ``rate`` of an order is in messages per second over all rooms.

    The result has the latency of every delivery to every member.
    """
    names = [f"push-{time.monotonic_ns()}-{number}" for number in range(-(-members // room_size))]
    _join(clients, [names[number // room_size] for number in range(members)])
    rooms = [clients.members[start : start + room_size] for start in range(0, members, room_size)]
    order = yield {}
    while True:
        rng = random.Random(order["seed"])  # noqa: S311 - draws of a benchmark, to be repeated by seed
        order = yield sending.spread(clients, rooms, rng, order["rate"], order["seconds"], _TEXT)


def burst(clients: RawClients, *, members: int, rate: float) -> Scenario:
    """A big room gets ``rate`` messages per second, at intended times, for the ``seconds`` of an order.

    Its members read afterwards: reading for hundreds of them would delay other clients on the same processor.
    """
    _join(clients, [f"burst-{time.monotonic_ns()}"] * members)
    order = yield {}
    while True:
        order = yield sending.steady(clients, clients.members, (), rate, order["seconds"], _TEXT)


def probe(clients: RawClients, *, rate: float) -> Scenario:
    """A room of two: the latency of each delivery to the member who does not send."""
    _join(clients, [f"probe-{time.monotonic_ns()}"] * 2)
    order = yield {}
    while True:
        order = yield sending.steady(clients, clients.members, clients.members[1:], rate, order["seconds"], _TEXT)


def relay(clients: RawClients, *, others: Sequence[str], rate: float) -> Scenario:
    """A room with two members on the sender's server, and one on each of the servers at the URLs ``others``.

    ``latency_us`` has the latencies of the receiver on the sender's server, ``elsewhere_us`` those of the members on
    other servers, and ``between_us`` how much later these got the same message.
    """
    for url in ("", "", *others):
        clients.connect(url)
    join_all(clients, [f"relay-{time.monotonic_ns()}"] * len(clients.members))
    order = yield {}
    while True:
        got = sending.steady(clients, clients.members, clients.members[1:], rate, order["seconds"], _TEXT)
        here, elsewhere = got["latency_us"][: got["starts"]], got["latency_us"][got["starts"] :]
        between = [there - near for there, near in zip(elsewhere, cycle(here), strict=False)]
        order = yield {**got, "latency_us": here, "elsewhere_us": elsewhere, "between_us": between}


def beside(clients: RawClients, *, room: str, others: int, rate: float) -> Scenario:
    """A member alone in a room, timed by the echo of its messages, and ``others`` who read in ``room``.

    The result has the latencies of that member, and how many of all clients were ``disconnected`` since the start.
    """
    _join(clients, [f"beside-{time.monotonic_ns()}", *[room] * others])
    alone = clients.members[:1]
    order = yield {}
    while True:
        got = sending.steady(clients, alone, alone, rate, order["seconds"], _TEXT)
        order = yield {**got, "disconnected": sum(member.closed for member in clients.members)}


def flood(clients: RawClients, *, kind: str, room: str) -> Scenario:
    """One client floods the server for the ``seconds`` of an order: the bytes ``sent``, over how many ``connections``.

    It runs with the lowest priority, so that it does not delay the measuring client on the same processor.
    """
    os.nice(19)
    order = yield {}
    while True:
        with sending.effort() as spent:
            if kind == HALF_POSTS:
                done = hold_half_posts(clients.url, order["seconds"])
            else:
                done = write_flood(clients.url, FLOODS[kind], room, order["seconds"])
        order = yield {"sent": done.sent, "connections": done.connections, **spent}


def slow_reader(clients: RawClients, *, members: int, rate: float, text: str) -> Scenario:
    """A room under steady traffic with one more member, which reads, or stops reading if the order says ``stuck``.

    That member joins in an earlier repetition, which measures nothing: the cost of joining must not count.
    """
    room = f"slow-{time.monotonic_ns()}"
    _join(clients, [room] * members)
    reading = tuple(clients.members)
    got: sending.Result = {}
    seen = 0
    while True:
        yield got
        last = clients.connect()
        _ask_to_join(last, room, members, since=seen)
        clients.pump_until(lambda: False, _SETTLED)
        order = yield {}
        if order["stuck"]:
            clients.pause(last)
        got = sending.steady(clients, reading, reading, rate, order["seconds"], text)
        seen += got["starts"]
        if order["stuck"]:
            got["disconnected"] = _was_cut_off(last)
        clients.dismiss(last)
        clients.pump_until(lambda: False, _SETTLED)


def idle(clients: RawClients, *, connections: int) -> Scenario:
    """Connections that join no room: each repetition adds ``connections``, which stay open until the scenario ends."""
    yield {}
    while True:
        for _ in range(connections):
            clients.connect()
        clients.pump(0.2)
        yield {"connections": sum(not member.closed for member in clients.members)}


def storm(clients: RawClients, *, members: int, seconds: float) -> Scenario:
    """All join one new room within ``seconds``: the bytes that the server sends, and when all lists are complete."""
    found: sending.Result = {}
    while True:
        yield found
        for _ in range(members):
            clients.connect()
        room, started = f"storm-{time.monotonic_ns()}", time.monotonic()
        for number, member in enumerate(clients.members):
            _ask_to_join(member, room, number)
            clients.pump_before((started + (number + 1) * seconds / members) * 1e9, _LIST)
        clients.pump_until(lambda: all(member.count for member in clients.members), 60, _LIST)
        sizes: list[tuple[int, int]] = []
        while not (sizes and all(size == members for size, _ in sizes)) and time.monotonic() - started < 60:
            _until_quiet(clients)  # a longer list comes after a longer pause
            sizes = [_last_list(member) for member in clients.members]
        found = {
            "bytes": sum(len(piece) for member in clients.members for _, piece in member.arrived),
            "lists": sum(member.count for member in clients.members),
            "complete": sum(size == members for size, _ in sizes),
            "settled_seconds": max(at for _, at in sizes) / 1e9 - started,
        }
        clients.empty()


def large_room(clients: RawClients, *, members: int, vanishing: int) -> Scenario:
    """One room in three steps: all join it, one sends to all for the ``seconds`` of an order, ``vanishing`` close.

    It runs with the lowest priority, so that it does not delay the measuring client on the same processor.
    """
    os.nice(19)
    room = f"large-{time.monotonic_ns()}"
    yield {}
    with sending.effort() as spent:
        _join(clients, [room] * members)
    order = yield spent
    with sending.effort() as spent:
        sent = sending.broadcast(clients, clients.members[0], _TEXT, order["seconds"], 1)
    _, audit = sending.deliveries(clients.members, sent)
    yield {"starts": len(sent), **spent, **audit}
    gone = clients.members[members - vanishing :]
    with sending.effort() as spent:
        for member in gone:
            clients.dismiss(member)
        deadline = time.monotonic() + sending.PATIENCE
        while (left := _statistics(clients.url, room)["activeUsers"]) > members - vanishing:
            if time.monotonic() > deadline:
                break
            clients.pump_until(lambda: False, 0.1)
    yield {"left": left, **spent}


def receipts(clients: RawClients, *, members: int) -> Scenario:
    """One message: all other members send a read receipt at once, and every member waits for every update.

    Each update names everybody who has read so far. So n members get n³ names in total, and updates are only counted.
    """
    room = f"receipts-{time.monotonic_ns()}"
    _join(clients, [room] * members)
    sender, *readers = clients.members
    yield {}
    while True:
        sending.forget(clients.members)
        sender.emit("send-message", {"message": "read me"})
        clients.pump_until(lambda: all(member.count for member in clients.members), 30, sending.POSTED)
        message_id = next(payload["id"] for _, event, payload in sender.events() if event == "receive-message")
        sending.forget(clients.members)
        clients.keeping = False
        started = time.monotonic()
        for member in readers:
            member.emit("message-read", {"messageId": message_id, "room": room})
        done = clients.pump_until(lambda: all(m.count >= members - 1 for m in clients.members), sending.PATIENCE, _READ)
        clients.keeping = True
        yield {
            "updates": sum(member.count for member in clients.members),
            "complete": done,
            "seconds": time.monotonic() - started,
        }


SCENARIOS: dict[str, Callable[..., Scenario]] = {
    scenario.__name__: scenario
    for scenario in (
        fanout, senders, arrivals, push, burst, probe, beside, relay, flood, slow_reader, idle, storm, large_room,
        receipts,
    )
}  # fmt: skip


def _ask_to_join(member: RawClient, room: str, number: int, **more: int) -> None:
    member.emit("join", {"username": f"member {number}", "userId": f"guest-{member.sid[:20]}", "room": room, **more})


def _join(clients: RawClients, rooms: Sequence[str]) -> None:
    """Connect one client for each room name, and let it join."""
    for _ in rooms:
        clients.connect()
    join_all(clients, rooms)


def join_all(clients: RawClients, rooms: Sequence[str]) -> None:
    """Let all clients join at once, each its own room name, and wait until the lists of users stop.

    They join at once because a room that fills slowly sends its growing list of users to everybody again and again. The
    lists are not stored: those of 2,000 members take a gigabyte. Raises OperatorError after 60 seconds.
    """
    clients.keeping = False
    for number, (member, room) in enumerate(zip(clients.members, rooms, strict=True)):
        _ask_to_join(member, room, number)
        clients.pump(0, _HISTORY)
    joined = clients.pump_until(lambda: all(member.count for member in clients.members), 60, _HISTORY)
    if not joined:
        raise OperatorError("Not every client could join within 60 seconds.")
    _until_quiet(clients)
    clients.keeping = True
    sending.forget(clients.members)


def _until_quiet(clients: RawClients) -> None:
    """Read until no list of users has arrived for ``_SETTLED`` seconds."""
    quiet = time.monotonic()
    while time.monotonic() - quiet < _SETTLED:
        if clients.pump(0.05, _LIST):
            quiet = time.monotonic()


def _last_list(member: RawClient) -> tuple[int, int]:
    """The number of users in the member's last list, and when it arrived."""
    size, last = 0, 0
    for at, event, payload in member.events():
        if event == "room-users":
            size, last = len(payload), at
    return size, last


def _was_cut_off(member: RawClient) -> bool:
    """Whether the server has closed the connection of a member that did not read: its pending data ends."""
    member.sock.settimeout(5)
    member.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LARGE_BUFFER)  # a small window would take a minute
    if hasattr(socket, "TCP_WINDOW_CLAMP"):  # otherwise Linux keeps the small window
        member.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, _LARGE_BUFFER)
    try:
        while member.sock.recv(262_144):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def _statistics(url: str, room: str) -> dict[str, int]:
    """The server's statistics of a room (contract §6.4)."""
    data: dict[str, int] = got(url, f"/api/rooms/{quote(room, safe='')}/stats")["data"]
    return data
