"""Run a profile of faults, injection by injection. An interrupted run continues where it stopped."""

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
from chatsys.lab.faults.fault import Fault, matches
from chatsys.lab.faults.injection import Load, inject
from chatsys.lab.faults.record import CONCURRENT_SITES, FaultKind, FaultRun, FaultsResult, load, save
from chatsys.lab.faults.site import Site, SiteKind
from chatsys.lab.provenance.machine import describe

LONG_SECONDS = 15.0
"""A fault that takes longer than this is injected fewer times."""
PER_RUN = 10
"""Injections of one fault in one run of traffic."""
PER_SITE = 100
"""Injections after which a new site replaces the old one, in case a fault has left something behind."""
Say = Callable[[str], None]


class FaultProfile(NamedTuple):
    """How often each fault is injected and under which traffic.

    ``mutations`` is true if mechanisms are removed too; ``cases`` is the number of malformed inputs of each kind.
    """

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
    """Inject what the result in ``folder`` still lacks, and save it after each run of traffic.

    With ``mutated``, only remove the mechanisms whose names match it. With ``nonsense``, only repeat the malformed
    input of the kinds that match it, and note the commit with it. Raises OperatorError for a result of another commit.
    """
    environment = describe(None, "private")
    result = load(folder) or FaultsResult(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        profile=profile.name,
        seed=seed,
        environment=environment,
    )
    if nonsense is not None:
        result.fuzzing = [each for each in result.fuzzing if not matches(each.kind, nonsense)]
        await fuzzing.perform(result, profile.cases, folder, say, commit=environment.get("commit") or "")
        return result
    if result.environment.get("commit") != environment.get("commit"):
        raise OperatorError(
            f"The result in {folder} was made with commit {result.environment.get('commit')}.",
            hint="Move it away, or choose another folder with --out.",
        )
    if mutated is not None:
        await mutations.perform(result, folder, say, mutated)
        return result
    for alone in (False, True):
        todo = [fault for fault in faults if fault.alone is alone]
        await _Schedule(result, profile, todo, folder, say).run(1 if alone else CONCURRENT_SITES)
    if profile.mutations:
        await mutations.perform(result, folder, say)
    if profile.cases:
        await fuzzing.perform(result, profile.cases, folder, say)
    return result


class _Schedule:
    """The missing runs by the kind of site that they need, and the workers that carry them out concurrently."""

    def __init__(
        self, result: FaultsResult, profile: FaultProfile, faults: Iterable[Fault], folder: Path, say: Say
    ) -> None:
        todo = [(fault, seeds) for fault in faults for seeds in missing(result, profile, fault)]
        # Shuffled, so that a slow minute of the machine does not affect one fault only.
        random.Random(result.seed).shuffle(todo)  # noqa: S311
        self._todo: dict[SiteKind, deque[tuple[Fault, range]]] = {}
        for fault, seeds in todo:
            self._todo.setdefault(fault.site_kind, deque()).append((fault, seeds))
        self._result, self._profile, self._folder, self._say = result, profile, folder, say

    async def run(self, workers: int) -> None:
        """Carry out all runs, with one site for each worker. Raises the error of a site that does not start."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._worker())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _worker(self) -> None:
        while self._left:
            kind = max(self._todo, key=lambda each: len(self._todo[each]))
            async with Site(kind=kind) as site:
                await self._run_on(site, self._todo[kind])

    @property
    def _left(self) -> int:
        return sum(map(len, self._todo.values()))

    async def _run_on(self, site: Site, todo: deque[tuple[Fault, range]]) -> None:
        """Inject until nothing is left, or the site has had PER_SITE injections, or a fault has spoiled it."""
        injected = 0
        while todo and injected < PER_SITE:
            fault, seeds = todo.popleft()
            run = await inject(site, fault, [self._result.seed * 1_000 + seed for seed in seeds], self._profile.load)
            kind = self._result.kind(fault.name)
            assert kind is not None
            kind.runs.append(run)
            save(self._result, self._folder)
            self._say(f"{fault.site_kind}, {self._left} runs left: {fault.name}: {line(run)}")
            injected += len(run.injections)
            if fault.spoils_site or run.broken or any(each.recovery is None or each.broken for each in run.injections):
                return


def missing(result: FaultsResult, profile: FaultProfile, fault: Fault) -> list[range]:
    """The numbers of the injections that the result lacks, one range for each run.

    Adds the fault to the result, and notes there what this machine lacks for it.
    """
    kind = result.kind(fault.name)
    if kind is None:
        kind = FaultKind(name=fault.name, concerns=fault.concerns, promise=fault.promise)
        result.kinds.append(kind)
    lacking = fault.lacking()
    kind.not_run = f"needs {', '.join(lacking)}" if lacking else ""
    wanted = profile.injections_of_long if fault.seconds > LONG_SECONDS else profile.injections
    numbers = range(len(kind.injections), 0 if lacking else wanted)
    size = 1 if fault.spoils_site else PER_RUN
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def line(run: FaultRun) -> str:
    """One run in a line of text."""
    injections = run.injections
    back = [each.recovery for each in injections if each.recovery is not None]
    served = f"back after at most {max(back):.2f} s" if len(back) == len(injections) else "service did not come back"
    found = ", ".join(f"{finding.count} {finding.kind}" for finding in run.findings) or "nothing wrong"
    disconnected = sum(each.thrown_out for each in injections)
    broken = [text for text in (run.broken, *(each.broken for each in injections)) if text]
    parts = [f"{len(injections)} injections, {run.messages} messages", found]
    parts += [f"{disconnected} disconnected"] if disconnected else []
    return ", ".join([*parts, served, *broken])
