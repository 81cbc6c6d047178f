"""How clients send and receive: closed and open loops, and the audit of every delivery.

A latency starts just before the sender writes the message, or at its intended time, and ends when the recipient's
socket returns it. Both ends are in one process and use one clock. Lost, doubled and swapped messages are found
afterwards in everything that arrived.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, pairwise
from typing import Any

from chatsys.lab.clients.sockets import RawClient, RawClients, event_frame

Result = dict[str, Any]
Sent = list[tuple[RawClient, int]]
"""The sender of each message, and when it sent, in monotonic nanoseconds."""
POSTED = b'["receive-message"'
PATIENCE = 30.0
"""Seconds to wait for the last deliveries. Then they count as lost."""
LATE_NS = 5_000_000
"""Nanoseconds after its intended start at which a message counts as a missed start."""


def forget(members: Iterable[RawClient]) -> None:
    """Drop what all members have received."""
    for member in members:
        member.forget()


@contextmanager
def effort() -> Iterator[dict[str, float]]:
    """After the block it holds ``seconds``, and ``generator_cpu``: the processor seconds that this process used."""
    spent: dict[str, float] = {}
    cpu, began = time.process_time(), time.monotonic()
    yield spent
    spent["seconds"] = time.monotonic() - began
    spent["generator_cpu"] = time.process_time() - cpu


def broadcast(clients: RawClients, sender: RawClient, text: str, seconds: float, window: int) -> list[int]:
    """Send for ``seconds`` with at most ``window`` messages in flight, and return when each left."""
    frame = _message(text)
    sent: list[int] = []
    got = 0
    everyone = len(clients.members)
    began = time.monotonic()
    while (sending := time.monotonic() < began + seconds) or got < len(sent) * everyone:
        while sending and len(sent) * everyone - got < window * everyone:
            sent.append(sender.send(frame))
        got += clients.pump(0.05, POSTED)
        if time.monotonic() > began + seconds + PATIENCE:
            break
    return sent


def closed_loop(clients: RawClients, text: str, seconds: float) -> tuple[Sent, list[float]]:
    """Each member sends when its last echo arrives, for ``seconds``. Then the last echoes are awaited.

    Every latency counts, also the slow ones at the end.
    """
    frame = _message(text)
    sent: Sent = []
    last: dict[RawClient, int] = {}
    latencies: list[float] = []
    deadline = time.monotonic_ns() + int(seconds * 1e9)

    def send(member: RawClient) -> None:
        last[member] = member.send(frame)
        sent.append((member, last[member]))

    def echo(member: RawClient, _: int) -> None:
        now = time.monotonic_ns()
        latencies.append((now - last[member]) / 1e3)
        if now < deadline:
            send(member)

    for member in clients.members:
        send(member)
    patience = time.monotonic() + seconds + PATIENCE
    while len(latencies) < len(sent) and time.monotonic() < patience:
        clients.pump(0.05, POSTED, echo)
    return sent, latencies


def poisson(
    clients: RawClients, rng: random.Random, rate: float, seconds: float, text: str
) -> tuple[Sent, list[float], list[float], int]:
    """Send at the times of a Poisson process, the members in rotation.

    Returns what was sent, response and service times in microseconds, and the number of missed starts.
    """
    frame = _message(text)
    response: list[float] = []
    service: list[float] = []
    waiting: defaultdict[RawClient, deque[tuple[float, int]]] = defaultdict(deque)

    def echo(member: RawClient, number: int) -> None:
        now = time.monotonic_ns()
        for _ in range(number):
            intended, left = waiting[member].popleft()
            response.append((now - intended) / 1e3)
            service.append((now - left) / 1e3)

    sent: Sent = []
    late = 0
    moment = float(time.monotonic_ns())
    end = moment + seconds * 1e9
    senders = cycle(clients.members)
    while (moment := moment + rng.expovariate(rate) * 1e9) < end:
        clients.pump_before(moment, POSTED, echo)
        member = next(senders)
        left = member.send(frame)
        sent.append((member, left))
        waiting[member].append((moment, left))
        late += left - moment > LATE_NS
    patience = time.monotonic() + PATIENCE
    while len(response) < len(sent) and time.monotonic() < patience:
        clients.pump(0.05, POSTED, echo)
    return sent, response, service, late


def steady(  # noqa: PLR0917 - all of them say what the traffic is
    clients: RawClients, room: Sequence[RawClient], timed: Sequence[RawClient], rate: float, seconds: float, text: str
) -> Result:
    """The first member of ``room`` sends at intended times. The latencies are those at ``timed``.

    If ``timed`` is empty, members read only after the last send, so that reading takes no processor time from others.
    """
    forget(clients.members)
    frame = _message(text)
    start = time.monotonic_ns() + 50_000_000
    intended = [start + int(number * 1e9 / rate) for number in range(int(rate * seconds))]
    late = 0
    with effort() as spent:
        for moment in intended:
            if timed:
                clients.pump_before(moment, POSTED)
            else:
                time.sleep(max(0.0, (moment - time.monotonic_ns()) / 1e9))
            late += room[0].send(frame) - moment > LATE_NS
        clients.pump_until(lambda: all(member.count >= len(intended) for member in room), PATIENCE, POSTED)
    latencies, audit = deliveries(timed or room, intended)
    return {"latency_us": latencies if timed else [], "starts": len(intended), "late_starts": late, **spent, **audit}


def spread(  # noqa: PLR0917 - all of them say what the traffic is
    clients: RawClients,
    rooms: Sequence[Sequence[RawClient]],
    rng: random.Random,
    rate: float,
    seconds: float,
    text: str,
) -> Result:
    """Messages to random rooms leave at the times of a Poisson process. Latencies are those at every member of a room.

    They run from the intended start to the arrival at a recipient; the sender is one of them.
    """
    forget(clients.members)
    frame = _message(text)
    moment = float(time.monotonic_ns()) + 50_000_000
    end = moment + seconds * 1e9
    intended: defaultdict[int, list[int]] = defaultdict(list)
    late = 0
    with effort() as spent:
        while (moment := moment + rng.expovariate(rate) * 1e9) < end:
            clients.pump_before(moment, POSTED)
            number = rng.randrange(len(rooms))
            late += rng.choice(rooms[number]).send(frame) - moment > LATE_NS
            intended[number].append(int(moment))
        waiting = [(rooms[number], len(moments)) for number, moments in intended.items()]
        clients.pump_until(lambda: all(m.count >= wanted for room, wanted in waiting for m in room), PATIENCE, POSTED)
    latencies: list[float] = []
    faults = dict.fromkeys(("lost", "doubled", "swapped"), 0)
    for number, moments in intended.items():
        taken, audit = deliveries(rooms[number], moments)
        latencies += taken
        faults = {fault: count + audit[fault] for fault, count in faults.items()}
    starts = sum(map(len, intended.values()))
    return {"latency_us": latencies, "starts": starts, "late_starts": late, **spent, **faults}


def _message(text: str) -> bytes:
    """The frame of a message. It is built once, since all messages are equal."""
    return event_frame("send-message", {"message": text})


def audited(members: Iterable[RawClient], sent: Sent) -> dict[str, int]:
    """How many messages were lost, doubled or swapped, among members who are alone in their rooms."""
    by_member: defaultdict[RawClient, list[int]] = defaultdict(list)
    for member, at in sent:
        by_member[member].append(at)
    audits = [deliveries([member], by_member[member])[1] for member in members]
    return {fault: sum(audit[fault] for audit in audits) for fault in ("lost", "doubled", "swapped")}


def deliveries(members: Iterable[RawClient], sent: Sequence[int]) -> tuple[list[float], dict[str, int]]:
    """Latencies of every delivery in microseconds, and how many were lost, doubled or swapped.

    The room's sequence numbers give the order. Each member must have received ``len(sent)`` messages exactly once, each
    with a number one greater than the last.
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
