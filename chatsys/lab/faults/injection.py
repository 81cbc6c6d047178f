"""Inject one fault under traffic, and judge its effect on every client."""

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
from chatsys.lab.faults.fault import Concern, Context, Fault
from chatsys.lab.faults.record import FaultRun, Injection, histogram
from chatsys.lab.faults.site import LEASE, Site, SiteServer
from chatsys.lab.faults.traffic import SteadyTraffic, clock
from chatsys.results.audit import Unreadable, history
from chatsys.results.history import Deviation, findings

MIB = 1024 * 1024
INJECTION_TIMEOUT = 180.0
"""Seconds beyond the usual ones of the fault after which an injection is given up."""
RECOVERY_TIMEOUT = 30.0
"""Seconds after which service counts as not coming back."""
CALM = 0.3
"""Seconds of traffic before a fault whose latencies are not judged."""
DRAIN_TIMEOUT = 20.0
SETTLE_TIMEOUT = float(LEASE) * 2 + 8
"""Seconds that the lists of members may take to become correct: two leases and a little more."""


class Load(NamedTuple):
    """The traffic: ``rooms`` of ``size`` people, each of whom sends a message ``every`` so many seconds.

    ``calm`` is the number of seconds of traffic before a fault whose latencies are judged.
    """

    rooms: int = 3
    size: int = 4
    every: float = 0.1
    calm: float = 1.2


async def inject(site: Site, fault: Fault, seeds: Iterable[int], load: Load = Load()) -> FaultRun:  # noqa: B008 - immutable
    """Inject ``fault`` once for each seed in one run of traffic, and judge the whole run.

    The run ends early if service does not come back, or if the fault can't be injected.
    """
    seeds = list(seeds)
    addresses = [server.address for server in site.servers]
    injections: list[Injection] = []
    broken = ""
    if fault.alone:
        await site.in_process(os.getpid)  # now, because the start of a process uses a core for a second
    traffic = SteadyTraffic(addresses, rooms=load.rooms, size=load.size, every=load.every, seed=seeds[0])
    async with traffic:
        if not all(person.joined for person in traffic.people):
            broken = "not everybody could join before the fault"
        for seed in seeds:
            with _no_collection() if fault.alone else nullcontext():
                injections.append(await _once(site, traffic, fault, seed, load.calm if fault.alone else CALM))
            if injections[-1].recovery is None or injections[-1].broken:
                break
        finished = await traffic.finish(DRAIN_TIMEOUT)
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
    """Disable garbage collection in the block: a collection takes 75 ms here and would delay every client's answer."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def _once(site: Site, traffic: SteadyTraffic, fault: Fault, seed: int, calm: float) -> Injection:
    """Wait for a random moment, inject the fault, and wait until everybody is served again."""
    rng = random.Random(seed)  # noqa: S311 - draws of an experiment
    load_average, broken = os.getloadavg()[0], ""
    for person in traffic.people:
        person.slowest_answer = 0.0
    begin = clock()
    await asyncio.sleep(calm + rng.random())
    memory = MemoryGrowth(site)
    fault_begin = clock()
    async with memory.watched():
        try:
            async with asyncio.timeout(fault.seconds + INJECTION_TIMEOUT):
                await fault.inject(Context(site, traffic, rng, fault.seconds))
        except ChatsysError as error:
            broken = str(error)
        except Exception as error:  # so that the run continues with the other faults
            broken = f"{type(error).__name__}: {error}"
        fault_end = clock()
    recovery = await _recovery(traffic, fault_end)
    others, disconnected = _others(fault, traffic), _disconnected(site, traffic)
    connected = [person for person in traffic.people if person.number not in disconnected]
    return Injection(
        seed=seed,
        seconds=fault_end - fault_begin,
        load=round(load_average, 1),
        thrown_out=sum(moment >= begin for person in connected for moment in person.thrown_out),
        recovery=recovery,
        slowest_answer=max(person.slowest_answer for person in traffic.people),
        others_calm=_latencies(traffic, others, begin, fault_begin),
        others=_latencies(traffic, others, fault_begin, max(fault_end, fault_begin + 0.5)),
        growth_mib=memory.growth / MIB,
        broken=broken,
    )


class MemoryGrowth:
    """The largest ``growth`` of a server's resident memory, in bytes, while it was ``watched``."""

    def __init__(self, site: Site) -> None:
        self.growth = 0
        self._site = site
        self._before = self._now()

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Read the memory every half second."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()

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
    """The people outside the room that the fault concerns; everybody if it concerns no room."""
    room = traffic.rooms[0] if fault.concerns is Concern.ROOM else None
    return {person.number for person in traffic.people if person.room != room}


def _disconnected(site: Site, traffic: SteadyTraffic) -> set[int]:
    """The people whose server the fault itself ended, so that they may lose their connection."""
    ended = {server.number for server in site.servers if server.restarts != server.restarts_seen}
    for server in site.servers:
        server.restarts_seen = server.restarts
    return {
        person.number for person in traffic.people if person.number // len(traffic.rooms) % len(site.servers) in ended
    }


def _latencies(traffic: SteadyTraffic, whose: set[int], begin: float, end: float) -> dict[int, int]:
    """The time from when a message was due to its acknowledgement, for messages due from ``begin`` until ``end``."""
    return histogram(
        each.seconds * 1000 for each in traffic.acknowledged if each.person in whose and begin <= each.due < end
    )


async def _recovery(traffic: SteadyTraffic, fault_end: float) -> float | None:
    """Seconds from the end of the fault until each person had a message acknowledged that was due after it.

    None if service did not come back.
    """

    def served() -> dict[int, float]:
        first: dict[int, float] = {}
        for each in traffic.acknowledged:
            if each.due >= fault_end:
                first.setdefault(each.person, each.due + each.seconds)
        return first

    def back() -> bool:
        return len(served()) == len(traffic.people)

    if not await traffic.until(back, RECOVERY_TIMEOUT):
        return None
    return max(0.0, max(served().values()) - fault_end)


async def _judged(site: Site, traffic: SteadyTraffic) -> list[Deviation]:
    """The deviations that remain after the lists of members have had time to become correct."""
    record = traffic.history
    for person in traffic.people:
        person.record.present = person.joined
    deadline = clock() + SETTLE_TIMEOUT
    while True:
        try:
            await asyncio.to_thread(_read, site, traffic)
        except Unreadable as error:
            found = [Deviation("incomplete", 1, [str(error)])]
        else:
            found = findings(record)
        if violated := await site.violated_invariants():
            found.append(Deviation("invariants", len(violated), violated))
        if clock() > deadline or not _may_pass(found):
            return found
        await asyncio.sleep(0.25)


def _may_pass(found: Iterable[Deviation]) -> bool:
    """Whether a deviation may still disappear, such as a list of members that is not correct yet."""
    return any(finding.kind in {"ghosts", "absent", "invariants", "incomplete"} for finding in found)


def _read(site: Site, traffic: SteadyTraffic) -> None:
    """Read what the servers have stored and whom they list. Raises Unreadable."""
    for room in traffic.rooms:
        traffic.history.stored[room] = [*history(site.servers[0].read, room, 0)][::-1]
        traffic.history.listed[room] = [_listed(server, room) for server in site.servers]


class _Users(msgspec.Struct):
    data: list[dict[str, Any]]


def _listed(server: SiteServer, room: str) -> list[str]:
    answer = msgspec.json.decode(server.read(f"/api/rooms/{quote(room, safe='')}/users"), type=_Users)
    return [each["userId"] for each in answer.data]
