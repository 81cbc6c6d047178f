"""The experiments with a crowd. Each returns plain data: counts, seconds, and raw latencies in microseconds.

A latency runs from just before the bytes of the message left the sender to when the recipient's socket gave them up
(one clock, one process). Loss, doubles and swaps are looked up afterwards in everything that arrived.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from chatsys.errors import OperatorError
from chatsys.lab.crowd.sockets import Crowd, Member

Result = dict[str, Any]

_POSTED = b'["receive-message"'
_HISTORY = b'["message-history"'
_LIST = b'["room-users"'
_READ = b'["message-read-update"'
_WIDE = 1_048_576  # bytes of a receive buffer
_SETTLED = 0.6  # seconds: lists of users may be held back for 250 ms (contract §10.2)


def fanout(url: str, *, members: int, messages: int, window: int = 4, text_bytes: int = 64) -> Result:
    """One member sends, all receive; at most ``window`` messages are on their way to somebody.

    A quarter of ``messages`` goes ahead as warm-up. ``seconds`` runs from the first send to the last delivery.
    """
    with Crowd(url) as crowd:
        _join(crowd, [f"fan-{time.monotonic_ns()}"] * members)
        sender, text = crowd.members[0], "x" * text_bytes
        _broadcast(crowd, sender, text, max(1, messages // 4), window)
        _forget(crowd.members)
        cpu, started = time.process_time(), time.monotonic()
        sent = _broadcast(crowd, sender, text, messages, window)
        seconds = time.monotonic() - started
        cpu = time.process_time() - cpu
        latencies, audit = _deliveries(crowd.members, sent)
        return {
            "deliveries": len(latencies),
            "seconds": seconds,
            "generator_cpu": cpu,
            "latency_us": latencies,
            **audit,
        }


def senders(url: str, *, senders: int, seconds: float, text_bytes: int = 64) -> Result:
    """Each sender alone in a room, in a closed loop: the next message leaves when the last one's echo is there.

    A fifth of ``seconds`` goes ahead as warm-up. ``stored`` is what the server's room statistics count afterwards.
    """
    with Crowd(url) as crowd:
        rooms = [f"solo-{time.monotonic_ns()}-{number}" for number in range(senders)]
        _join(crowd, rooms)
        text = {"message": "x" * text_bytes}
        sent: dict[Member, list[int]] = {member: [] for member in crowd.members}
        latencies: list[float] = []
        deadline = measuring = 0.0

        def echo(member: Member, _: int) -> None:
            now, last = time.monotonic_ns(), sent[member][-1]
            if now / 1e9 >= measuring:
                latencies.append((now - last) / 1e3)
            if now / 1e9 < deadline:
                sent[member].append(member.emit("send-message", text))

        now = time.monotonic()
        measuring, deadline = now + seconds / 5, now + seconds * 1.2
        for member in crowd.members:
            sent[member].append(member.emit("send-message", text))
        cpu = time.process_time()
        while time.monotonic() < deadline:
            crowd.pump(0.05, _POSTED, echo)
        cpu = time.process_time() - cpu
        crowd.pump_until(lambda: all(m.count >= len(sent[m]) for m in crowd.members), 30, _POSTED)
        audit = {"lost": 0, "doubled": 0, "swapped": 0}
        for member in crowd.members:
            _, found = _deliveries([member], sent[member])
            audit = {key: audit[key] + found[key] for key in audit}
        return {
            "sent": sum(map(len, sent.values())),
            "stored": sum(_total_messages(url, room) for room in rooms),
            "seconds": seconds,
            "throughput_per_second": len(latencies) / seconds,
            "generator_cpu": cpu,
            "latency_us": latencies,
            **audit,
        }


def burst(url: str, *, members: int, rate: float, seconds: float, text_bytes: int = 64) -> Result:
    """A big room that gets ``rate`` messages a second, at intended times, for as long as asked."""
    with Crowd(url) as crowd:
        _join(crowd, [f"burst-{time.monotonic_ns()}"] * members)
        _say("ready")
        sent, late = _at_rate(crowd, crowd.members[0], rate, seconds, text_bytes)
        crowd.pump_until(lambda: all(m.count >= len(sent) for m in crowd.members), 30, _POSTED)
        latencies, audit = _deliveries(crowd.members, sent)
        return {"deliveries": len(latencies), "late_starts": late, "latency_us": latencies, **audit}


def probe(url: str, *, rate: float, seconds: float, text_bytes: int = 64) -> Result:
    """A room of two; the latency of each delivery to the one who only listens."""
    with Crowd(url) as crowd:
        _join(crowd, [f"probe-{time.monotonic_ns()}"] * 2)
        sender, listener = crowd.members
        sent, late = _at_rate(crowd, sender, rate, seconds, text_bytes)
        crowd.pump_until(lambda: all(m.count >= len(sent) for m in crowd.members), 30, _POSTED)
        latencies, audit = _deliveries([listener], sent)
        return {"late_starts": late, "latency_us": latencies, **audit}


def slow_reader(url: str, *, members: int, rate: float, seconds: float, text_bytes: int, stuck: bool) -> Result:
    """A room under steady traffic; with ``stuck``, one more member joins and stops reading."""
    with Crowd(url) as crowd:
        room = f"slow-{time.monotonic_ns()}"
        _join(crowd, [room] * (members + stuck))
        reading = crowd.members[:members]
        if stuck:
            crowd.pause(crowd.members[-1])
        _say("ready")
        sent, late = _at_rate(crowd, reading[0], rate, seconds, text_bytes)
        crowd.pump_until(lambda: all(m.count >= len(sent) for m in reading), 30, _POSTED)
        latencies, audit = _deliveries(reading, sent)
        return {
            "bytes_per_second": rate * text_bytes,
            "late_starts": late,
            "latency_us": latencies,
            "disconnected": stuck and _was_cut_off(crowd.members[-1]),
            **audit,
        }


def idle(url: str, *, connections: int) -> Result:
    """Open connections that join nothing; says ``ready`` and holds them until a line comes on standard input."""
    with Crowd(url) as crowd:
        for _ in range(connections):
            crowd.connect()
        crowd.pump(0.2)
        _say("ready")
        input()
        return {"connections": sum(not member.closed for member in crowd.members)}


def storm(url: str, *, members: int, seconds: float) -> Result:
    """All join one room within ``seconds``; what the server sends, and when each has the complete list of users."""
    with Crowd(url) as crowd:
        for _ in range(members):
            crowd.connect()
        room, started = f"storm-{time.monotonic_ns()}", time.monotonic()
        for number, member in enumerate(crowd.members):
            _ask_to_join(member, room, number)
            while time.monotonic() - started < (number + 1) * seconds / members:
                crowd.pump(0.001, _LIST)
        crowd.pump_until(lambda: all(member.count for member in crowd.members), 60, _LIST)
        quiet = time.monotonic()
        while time.monotonic() - quiet < 2 * _SETTLED:
            if crowd.pump(0.05, _LIST):
                quiet = time.monotonic()
        sizes = [_last_list(member) for member in crowd.members]
        return {
            "bytes": sum(len(piece) for member in crowd.members for _, piece in member.arrived),
            "lists": sum(member.count for member in crowd.members),
            "complete": sum(size == members for size, _ in sizes),
            "settled_seconds": max(at for _, at in sizes) / 1e9 - started,
        }


def receipts(url: str, *, members: int, readers: int) -> Result:
    """One message; ``readers`` members answer with a read receipt at once; all updates to all are waited for."""
    with Crowd(url) as crowd:
        room = f"receipts-{time.monotonic_ns()}"
        _join(crowd, [room] * members)
        sender = crowd.members[0]
        sender.emit("send-message", {"message": "read me"})
        crowd.pump_until(lambda: all(member.count for member in crowd.members), 30, _POSTED)
        (message_id,) = {payload["id"] for _, event, payload in sender.events() if event == "receive-message"}
        _forget(crowd.members)
        asked = crowd.members[1 : readers + 1]
        started = time.monotonic()
        for member in asked:
            member.emit("message-read", {"messageId": message_id, "room": room})
        expected = len(asked)
        done = crowd.pump_until(lambda: all(member.count >= expected for member in crowd.members), 120, _READ)
        return {
            "updates": sum(member.count for member in crowd.members),
            "complete": done,
            "bytes": sum(len(piece) for member in crowd.members for _, piece in member.arrived),
            "seconds": time.monotonic() - started,
        }


SCENES: dict[str, Callable[..., Result]] = {
    scene.__name__: scene for scene in (fanout, senders, burst, probe, slow_reader, idle, storm, receipts)
}


def _say(word: str) -> None:
    print(word, flush=True)


def _ask_to_join(member: Member, room: str, number: int) -> None:
    member.emit("join", {"username": f"member {number}", "userId": f"guest-{member.sid[:20]}", "room": room})


def _join(crowd: Crowd, rooms: Sequence[str]) -> None:
    """Connect one member for each room name, let all join at once, and wait until nothing more is sent about it.

    At once, since a big room that fills slowly sends its growing list of users to everybody again and again.
    """
    for _ in rooms:
        crowd.connect()
    for number, (member, room) in enumerate(zip(crowd.members, rooms, strict=True)):
        _ask_to_join(member, room, number)
        crowd.pump(0, _HISTORY)
    joined = crowd.pump_until(lambda: all(member.count for member in crowd.members), 60, _HISTORY)
    if not joined:
        raise OperatorError("Not every member of the crowd could join within 60 seconds.")
    crowd.pump_until(lambda: False, _SETTLED)
    _forget(crowd.members)


def _forget(members: Iterable[Member]) -> None:
    for member in members:
        member.forget()


def _broadcast(crowd: Crowd, sender: Member, text: str, messages: int, window: int) -> list[int]:
    """Send ``messages`` with at most ``window`` on their way to somebody; when each left."""
    sent: list[int] = []
    got = 0
    everyone = len(crowd.members)
    deadline = time.monotonic() + 120
    while got < messages * everyone and time.monotonic() < deadline:
        while len(sent) < messages and len(sent) * everyone - got < window * everyone:
            sent.append(sender.emit("send-message", {"message": text}))
        got += crowd.pump(0.05, _POSTED)
    return sent


def _at_rate(crowd: Crowd, sender: Member, rate: float, seconds: float, text_bytes: int) -> tuple[list[int], int]:
    """Send at intended times; the intended times in nanoseconds, and how many left more than 5 ms late."""
    text = {"message": "x" * text_bytes}
    start = time.monotonic_ns() + 50_000_000
    intended = [start + int(number * 1e9 / rate) for number in range(int(rate * seconds))]
    late = 0
    for moment in intended:
        while (left := moment - time.monotonic_ns()) > 0:
            crowd.pump(left / 1e9, _POSTED)
        late += sender.emit("send-message", text) - moment > 5_000_000
    return intended, late


def _deliveries(members: Iterable[Member], sent: Sequence[int]) -> tuple[list[float], dict[str, int]]:
    """Latencies of every delivery in microseconds, and how many were lost, doubled or swapped.

    The room's sequence numbers give the order: each member must have got ``len(sent)`` messages, each once, each
    number one greater than the last.
    """
    latencies: list[float] = []
    lost = doubled = swapped = 0
    for member in members:
        got = [(at, payload["seq"]) for at, event, payload in member.events() if event == "receive-message"]
        numbers = [seq for _, seq in got]
        different = set(numbers)
        doubled += len(numbers) - len(different)
        lost += max(0, len(sent) - len(different))
        swapped += sum(later <= earlier for earlier, later in pairwise(numbers))
        first = min(different, default=0)
        latencies += [(at - sent[seq - first]) / 1e3 for at, seq in got if seq - first < len(sent)]
    return latencies, {"lost": lost, "doubled": doubled, "swapped": swapped}


def _last_list(member: Member) -> tuple[int, int]:
    """How many users the member's last list has, and when it came."""
    size, last = 0, 0
    for at, event, payload in member.events():
        if event == "room-users":
            size, last = len(payload), at
    return size, last


def _was_cut_off(member: Member) -> bool:
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


def _total_messages(url: str, room: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=30)
    try:
        connection.request("GET", f"/api/rooms/{quote(room, safe='')}/stats")
        answer = msgspec.json.decode(connection.getresponse().read())
    finally:
        connection.close()
    return int(answer["data"]["totalMessages"])
