"""How a crowd sends, and what it hears: closed and open loops, and the audit of every delivery.

A latency runs from just before the bytes of the message left the sender, or from when they were meant to, to when the
recipient's socket gave them up (one clock, one process). Loss, doubles and swaps are looked up afterwards in everything
that arrived.
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
"""Who sent, and when, in monotonic nanoseconds."""
POSTED = b'["receive-message"'
PATIENCE = 30.0
"""Seconds for the last deliveries, after which they are lost."""
LATE_NS = 5_000_000
"""Nanoseconds after its intended start from which on a message was a missed start."""


def forget(members: Iterable[RawClient]) -> None:
    """Drop what all of them have heard."""
    for member in members:
        member.forget()


@contextmanager
def effort() -> Iterator[dict[str, float]]:
    """Afterwards the block's ``seconds``, and ``generator_cpu``: the processor seconds that this process used."""
    spent: dict[str, float] = {}
    cpu, began = time.process_time(), time.monotonic()
    yield spent
    spent["seconds"] = time.monotonic() - began
    spent["generator_cpu"] = time.process_time() - cpu


def broadcast(crowd: RawClients, sender: RawClient, text: str, seconds: float, window: int) -> list[int]:
    """Send for ``seconds``, at most ``window`` messages being on their way to somebody; when each left."""
    frame = _message(text)
    sent: list[int] = []
    got = 0
    everyone = len(crowd.members)
    began = time.monotonic()
    while (at_it := time.monotonic() < began + seconds) or got < len(sent) * everyone:
        while at_it and len(sent) * everyone - got < window * everyone:
            sent.append(sender.send(frame))
        got += crowd.pump(0.05, POSTED)
        if time.monotonic() > began + seconds + PATIENCE:
            break
    return sent


def closed_loop(crowd: RawClients, text: str, seconds: float) -> tuple[Sent, list[float]]:
    """Everybody sends as the last echo arrives, for ``seconds``; then the last echoes are waited for.

    Every latency counts, so that the slow ones at the end are not left out.
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

    for member in crowd.members:
        send(member)
    patience = time.monotonic() + seconds + PATIENCE
    while len(latencies) < len(sent) and time.monotonic() < patience:
        crowd.pump(0.05, POSTED, echo)
    return sent, latencies


def poisson(
    crowd: RawClients, luck: random.Random, rate: float, seconds: float, text: str
) -> tuple[Sent, list[float], list[float], int]:
    """What was sent, response and service times in microseconds, and how many left too late after their moment."""
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
    turn = cycle(crowd.members)
    while (moment := moment + luck.expovariate(rate) * 1e9) < end:
        crowd.pump_before(moment, POSTED, echo)
        member = next(turn)
        left = member.send(frame)
        sent.append((member, left))
        waiting[member].append((moment, left))
        late += left - moment > LATE_NS
    patience = time.monotonic() + PATIENCE
    while len(response) < len(sent) and time.monotonic() < patience:
        crowd.pump(0.05, POSTED, echo)
    return sent, response, service, late


def steady(  # noqa: PLR0917 - all of them say what the traffic is
    crowd: RawClients, room: Sequence[RawClient], heard: Sequence[RawClient], rate: float, seconds: float, text: str
) -> Result:
    """The first of ``room`` sends at intended times; latencies at ``heard``, and how many left too late.

    With nobody in ``heard``, what arrives is read when the last has left: reading takes no processor from others.
    """
    forget(crowd.members)
    frame = _message(text)
    start = time.monotonic_ns() + 50_000_000
    intended = [start + int(number * 1e9 / rate) for number in range(int(rate * seconds))]
    late = 0
    with effort() as spent:
        for moment in intended:
            if heard:
                crowd.pump_before(moment, POSTED)
            else:
                time.sleep(max(0.0, (moment - time.monotonic_ns()) / 1e9))
            late += room[0].send(frame) - moment > LATE_NS
        crowd.pump_until(lambda: all(member.count >= len(intended) for member in room), PATIENCE, POSTED)
    latencies, audit = deliveries(heard or room, intended)
    return {"latency_us": latencies if heard else [], "starts": len(intended), "late_starts": late, **spent, **audit}


def spread(  # noqa: PLR0917 - all of them say what the traffic is
    crowd: RawClients, rooms: Sequence[Sequence[RawClient]], rng: random.Random, rate: float, seconds: float, text: str
) -> Result:
    """Messages of all rooms together leave at the moments of a Poisson process; latencies at every member of a room.

    They run from the intended start to the moment at which a recipient, the sender too, has the message.
    """
    forget(crowd.members)
    frame = _message(text)
    moment = float(time.monotonic_ns()) + 50_000_000
    end = moment + seconds * 1e9
    intended: defaultdict[int, list[int]] = defaultdict(list)
    late = 0
    with effort() as spent:
        while (moment := moment + rng.expovariate(rate) * 1e9) < end:
            crowd.pump_before(moment, POSTED)
            number = rng.randrange(len(rooms))
            late += rng.choice(rooms[number]).send(frame) - moment > LATE_NS
            intended[number].append(int(moment))
        waiting = [(rooms[number], len(moments)) for number, moments in intended.items()]
        crowd.pump_until(lambda: all(m.count >= wanted for room, wanted in waiting for m in room), PATIENCE, POSTED)
    latencies: list[float] = []
    faults = dict.fromkeys(("lost", "doubled", "swapped"), 0)
    for number, moments in intended.items():
        taken, audit = deliveries(rooms[number], moments)
        latencies += taken
        faults = {fault: count + audit[fault] for fault, count in faults.items()}
    starts = sum(map(len, intended.values()))
    return {"latency_us": latencies, "starts": starts, "late_starts": late, **spent, **faults}


def _message(text: str) -> bytes:
    """The frame of a message: it is the same all the time, and made once."""
    return event_frame("send-message", {"message": text})


def audited(members: Iterable[RawClient], sent: Sent) -> dict[str, int]:
    """What was lost, doubled or swapped among members who are alone in their rooms."""
    by_member: defaultdict[RawClient, list[int]] = defaultdict(list)
    for member, at in sent:
        by_member[member].append(at)
    audits = [deliveries([member], by_member[member])[1] for member in members]
    return {fault: sum(audit[fault] for audit in audits) for fault in ("lost", "doubled", "swapped")}


def deliveries(members: Iterable[RawClient], sent: Sequence[int]) -> tuple[list[float], dict[str, int]]:
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
