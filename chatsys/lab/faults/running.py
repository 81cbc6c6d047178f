"""A profile of faults, injection by injection; a run that was ended goes on where it was."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from chatsys.errors import OperatorError
from chatsys.lab.faults import fuzzing, mutations
from chatsys.lab.faults.fault import Fault
from chatsys.lab.faults.injection import Load, inject
from chatsys.lab.faults.record import AT_ONCE, FaultKind, FaultRun, FaultsResult, load, save
from chatsys.lab.faults.site import Site, SiteKind
from chatsys.lab.provenance.machine import describe

LONG_SECONDS = 15.0
"""A fault that takes longer is injected fewer times."""
PER_RUN = 10
"""Injections of one fault in one run of traffic."""
PER_SITE = 100
"""Injections after which the site is made anew: a site that a fault has spoiled must not spoil the rest."""
Say = Callable[[str], None]


class FaultProfile(NamedTuple):
    """How often each fault is injected, the traffic, and whether mechanisms are taken away and nonsense is sent."""

    name: str
    injections: int
    injections_of_long: int
    load: Load
    mutations: bool = False
    cases: int = 0


PROFILES = {
    profile.name: profile
    for profile in (
        FaultProfile("once", 1, 1, Load()),
        FaultProfile("quick", 3, 1, Load()),
        FaultProfile("long", 20, 5, Load(), mutations=True, cases=100_000),
    )
}


async def run(
    profile: FaultProfile,
    faults: Sequence[Fault],
    seed: int,
    folder: Path,
    say: Say,
    *,
    mutated: str | None = None,
    nonsense: str | None = None,
) -> FaultsResult:
    """Inject what is still missing from the result in ``folder``, and write it after each injection.

    With ``mutated`` only mechanisms are taken away: those whose names contain one of its comma-separated words. With
    ``nonsense`` nonsense alone is sent, again: the kinds that contain one of its words, and the commit stands with it.
    """
    environment = describe(None, "private")
    result = load(folder) or FaultsResult(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        profile=profile.name,
        seed=seed,
        environment=environment,
    )
    if nonsense is not None:
        again = [each for each in result.fuzzing if any(word in each.kind for word in nonsense.split(","))]
        result.fuzzing = [each for each in result.fuzzing if each not in again]
        await fuzzing.perform(result, profile.cases, folder, say, commit=environment.get("commit") or "")
        return result
    if result.environment.get("commit") != environment.get("commit"):
        raise OperatorError(
            f"The result in {folder} was made with commit {result.environment.get('commit')}.",
            hint="Move it away, or name another folder with --out.",
        )
    if mutated is not None:
        await mutations.perform(result, folder, say, mutated)
        return result
    for alone in (False, True):
        todo = [fault for fault in faults if fault.alone is alone]
        await _ParallelRuns(result, profile, todo, folder, say).run(1 if alone else AT_ONCE)
    if profile.mutations:
        await mutations.perform(result, folder, say)
    if profile.cases:
        await fuzzing.perform(result, profile.cases, folder, say)
    return result


class _ParallelRuns:
    """The runs that are to be done, by the kind of site that they need, and workers that do them side by side."""

    def __init__(
        self, result: FaultsResult, profile: FaultProfile, faults: Iterable[Fault], folder: Path, say: Say
    ) -> None:
        todo = [(fault, seeds) for fault in faults for seeds in missing(result, profile, fault)]
        random.Random(result.seed).shuffle(todo)  # noqa: S311 - a minute in which the machine is slow hits all alike
        self._todo: dict[SiteKind, deque[tuple[Fault, range]]] = {}
        for fault, seeds in todo:
            self._todo.setdefault(fault.place, deque()).append((fault, seeds))
        self._result, self._profile, self._folder, self._say = result, profile, folder, say

    async def run(self, workers: int) -> None:
        """Do all of them, with so many sites at once. Raises what a site raises that can't be made."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._worker())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _worker(self) -> None:
        while self._left:
            place = max(self._todo, key=lambda each: len(self._todo[each]))
            async with Site(place=place) as site:
                await self._at(site, self._todo[place])

    @property
    def _left(self) -> int:
        return sum(map(len, self._todo.values()))

    async def _at(self, site: Site, todo: deque[tuple[Fault, range]]) -> None:
        """Inject until nothing is left, the site has seen enough, or it is spoiled."""
        injected = 0
        while todo and injected < PER_SITE:
            fault, seeds = todo.popleft()
            run = await inject(site, fault, [self._result.seed * 1_000 + seed for seed in seeds], self._profile.load)
            kind = self._result.kind(fault.name)
            assert kind is not None
            kind.runs.append(run)
            save(self._result, self._folder)
            self._say(f"{fault.place}, {self._left} runs left: {fault.name}: {line(run)}")
            injected += len(run.injections)
            if fault.spends or run.broken or any(each.recovery is None or each.broken for each in run.injections):
                return


def missing(result: FaultsResult, profile: FaultProfile, fault: Fault) -> list[range]:
    """The numbers of the injections that the result lacks, run by run; what can't be injected here is noted."""
    kind = result.kind(fault.name)
    if kind is None:
        kind = FaultKind(name=fault.name, concerns=fault.concerns, promise=fault.promise)
        result.kinds.append(kind)
    lacking = fault.lacking()
    kind.not_run = f"needs {', '.join(lacking)}" if lacking else ""
    wanted = profile.injections_of_long if fault.seconds > LONG_SECONDS else profile.injections
    numbers = range(len(kind.injections), 0 if lacking else wanted)
    size = 1 if fault.spends else PER_RUN
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def line(run: FaultRun) -> str:
    """One run in a few words."""
    injections = run.injections
    back = [each.recovery for each in injections if each.recovery is not None]
    served = f"back after at most {max(back):.2f} s" if len(back) == len(injections) else "service did not come back"
    found = ", ".join(f"{finding.count} {finding.kind}" for finding in run.findings) or "nothing wrong"
    thrown = sum(each.thrown_out for each in injections)
    broken = [said for said in (run.broken, *(each.broken for each in injections)) if said]
    parts = [f"{len(injections)} injections, {run.messages} messages", found]
    parts += [f"{thrown} thrown out"] if thrown else []
    return ", ".join([*parts, served, *broken])
