"""One fault under traffic, and what became of everybody."""

from __future__ import annotations

import asyncio
import gc
import os
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import psutil

from chatsys.errors import ChatsysError
from chatsys.lab.faults.fault import Concern, Fault, Hit
from chatsys.lab.faults.record import FaultRun, Injection, histogram
from chatsys.lab.faults.site import LEASE, Site, SiteServer
from chatsys.lab.faults.traffic import SteadyTraffic, clock
from chatsys.results.audit import Unreadable, history
from chatsys.results.history import Deviation, findings

MIB = 1024 * 1024
INJECTION_MOST = 180.0
"""Seconds beyond its usual ones after which an injection is given up."""
RECOVERY_MOST = 30.0
"""Seconds after which service is not expected back any more."""
CALM = 0.3
"""Seconds before a fault under which latencies are not judged."""
DRAIN_MOST = 20.0
SETTLE_MOST = float(LEASE) * 2 + 8
"""Seconds that the lists of members get to become true: two leases and a little more."""


class Load(NamedTuple):
    """The traffic: rooms, people in each, seconds between two messages of one person.

    ``calm`` is for how many seconds latencies are looked at before a fault under which they are judged.
    """

    rooms: int = 3
    size: int = 4
    every: float = 0.1
    calm: float = 1.2


async def inject(site: Site, fault: Fault, seeds: Iterable[int], load: Load = Load()) -> FaultRun:  # noqa: B008 - immutable
    """Inject ``fault`` once for each seed in one run of traffic, and judge the whole.

    The run ends early if service does not come back, or if the fault could not be injected.
    """
    seeds = list(seeds)
    addresses = [server.address for server in site.servers]
    injections: list[Injection] = []
    broken = ""
    traffic = SteadyTraffic(addresses, rooms=load.rooms, size=load.size, every=load.every, seed=seeds[0])
    async with traffic:
        if not all(person.there for person in traffic.people):
            broken = "not everybody could join before the fault"
        for seed in seeds:
            with _no_collection() if fault.alone else nullcontext():
                injections.append(await _once(site, traffic, fault, seed, load.calm if fault.alone else CALM))
            if injections[-1].recovery is None or injections[-1].broken:
                break
        finished = await traffic.finish(DRAIN_MOST)
        if not finished and injections[-1].recovery is not None:
            broken = broken or "not everything was acknowledged and delivered after the fault"
        found = await _judged(site, traffic)
    return FaultRun(
        messages=len(traffic.history.sendings),
        acknowledged=len(traffic.acknowledged),
        injections=injections,
        refusals=traffic.refusals,
        findings=found,
        broken=broken,
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection in the block: one takes 75 ms here, and every client's answer would wait for it."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def _once(site: Site, traffic: SteadyTraffic, fault: Fault, seed: int, calm: float) -> Injection:
    """Wait for a random moment, inject the fault, and wait until everybody is served again."""
    rng = random.Random(seed)  # noqa: S311 - draws of an experiment
    machine, broken = os.getloadavg()[0], ""
    for person in traffic.people:
        person.slowest_answer = 0.0
    begun = clock()
    await asyncio.sleep(calm + rng.random())
    memory = MemoryGrowth(site)
    hit = clock()
    async with memory.watched():
        try:
            async with asyncio.timeout(fault.seconds + INJECTION_MOST):
                await fault.inject(Hit(site, traffic, rng, fault.seconds))
        except ChatsysError as error:
            broken = str(error)
        except Exception as error:  # the other faults are still to be injected
            broken = f"{type(error).__name__}: {error}"
        healed = clock()
    recovery = await _recovery(traffic, healed)
    others, theirs = _others(fault, traffic), _theirs(site, traffic)
    untouched = [person for person in traffic.people if person.number not in theirs]
    return Injection(
        seed=seed,
        seconds=healed - hit,
        load=round(machine, 1),
        thrown_out=sum(moment >= begun for person in untouched for moment in person.thrown_out),
        recovery=recovery,
        slowest_answer=max(person.slowest_answer for person in traffic.people),
        others_calm=_latencies(traffic, others, begun, hit),
        others=_latencies(traffic, others, hit, max(healed, hit + 0.5)),
        growth_mib=memory.growth / MIB,
        broken=broken,
    )


class MemoryGrowth:
    """By how many bytes the resident memory of a server grew at most while it was ``watched``."""

    def __init__(self, site: Site) -> None:
        self.growth = 0
        self._site = site
        self._before = self._now()

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look every half second."""
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            now = self._now()
            grown = [size - self._before[pid] for pid, size in now.items() if pid in self._before]
            self.growth = max(self.growth, *grown, 0)

    def _now(self) -> dict[int, int]:
        found = {}
        for server in self._site.servers:
            with suppress(psutil.NoSuchProcess):
                found[server.process.popen.pid] = server.process.resident_bytes
        return found


def _others(fault: Fault, traffic: SteadyTraffic) -> set[int]:
    """Those whom the fault does not concern; everybody where it concerns all."""
    room = traffic.rooms[0] if fault.concerns is Concern.ROOM else None
    return {person.number for person in traffic.people if person.room != room}


def _theirs(site: Site, traffic: SteadyTraffic) -> set[int]:
    """Those whose server was ended by the fault itself: they may lose their connection."""
    ended = {server.number for server in site.servers if server.restarts != server.restarts_seen}
    for server in site.servers:
        server.restarts_seen = server.restarts
    return {
        person.number for person in traffic.people if person.number // len(traffic.rooms) % len(site.servers) in ended
    }


def _latencies(traffic: SteadyTraffic, whose: set[int], begin: float, end: float) -> dict[int, int]:
    """From when a message was due until its acknowledgement, of those due in the time."""
    return histogram(
        each.seconds * 1000 for each in traffic.acknowledged if each.person in whose and begin <= each.due < end
    )


async def _recovery(traffic: SteadyTraffic, healed: float) -> float | None:
    """Seconds after the fault until each had a message acknowledged that was due after it; None: it was not to be."""

    def served() -> dict[int, float]:
        first: dict[int, float] = {}
        for each in traffic.acknowledged:
            if each.due >= healed:
                first.setdefault(each.person, each.due + each.seconds)
        return first

    def back() -> bool:
        return len(served()) == len(traffic.people)

    if not await traffic.until(back, RECOVERY_MOST):
        return None
    return max(0.0, max(served().values()) - healed)


async def _judged(site: Site, traffic: SteadyTraffic) -> list[Deviation]:
    """The findings once the lists of members have had time to become true; those that then still stand."""
    record = traffic.history
    for person in traffic.people:
        person.record.present = person.there
    deadline = clock() + SETTLE_MOST
    while True:
        try:
            await asyncio.to_thread(_read, site, traffic)
        except Unreadable as error:
            found = [Deviation("incomplete", 1, [str(error)])]
        else:
            found = findings(record)
        if violated := await site.violated():
            found.append(Deviation("invariants", len(violated), violated))
        if clock() > deadline or not _may_pass(found):
            return found
        await asyncio.sleep(0.25)


def _may_pass(found: Iterable[Deviation]) -> bool:
    """Whether there is a finding that time may heal: a list that is not true yet, a status with it."""
    return any(finding.kind in {"ghosts", "absent", "invariants", "incomplete"} for finding in found)


def _read(site: Site, traffic: SteadyTraffic) -> None:
    """What the servers have stored and whom they list. Raises Unreadable."""
    for room in traffic.rooms:
        traffic.history.stored[room] = [*history(site.servers[0].read, room, 0)][::-1]
        traffic.history.listed[room] = [_listed(server, room) for server in site.servers]


class _Users(msgspec.Struct):
    data: list[dict[str, Any]]


def _listed(server: SiteServer, room: str) -> list[str]:
    answer = msgspec.json.decode(server.read(f"/api/rooms/{quote(room, safe='')}/users"), type=_Users)
    return [each["userId"] for each in answer.data]
