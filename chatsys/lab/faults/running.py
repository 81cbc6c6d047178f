"""A profile of faults, injection by injection; a run that was ended goes on where it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from chatsys.errors import OperatorError
from chatsys.lab.faults import fuzzing, mutations
from chatsys.lab.faults.fault import Fault
from chatsys.lab.faults.injection import Load, inject
from chatsys.lab.faults.record import Injection, Kind, Result, load, save
from chatsys.lab.faults.site import Place, Site
from chatsys.lab.machine import describe

LONG_SECONDS = 15.0
"""A fault that takes longer is injected fewer times."""
PER_SITE = 10
"""Injections after which the site is made anew: a site that a fault has spoiled must not spoil the rest."""
Say = Callable[[str], None]


class Profile(NamedTuple):
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
        Profile("once", 1, 1, Load()),
        Profile("quick", 3, 1, Load()),
        Profile("long", 20, 5, Load(), mutations=True, cases=100_000),
    )
}


async def run(profile: Profile, faults: Sequence[Fault], seed: int, folder: Path, say: Say) -> Result:
    """Inject what is still missing from the result in ``folder``, and write it after each injection."""
    environment = describe(None, "private")
    result = load(folder) or Result(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        profile=profile.name,
        seed=seed,
        environment=environment,
    )
    if result.environment.get("commit") != environment.get("commit"):
        raise OperatorError(
            f"The result in {folder} was made with commit {result.environment.get('commit')}.",
            hint="Move it away, or name another folder with --out.",
        )
    for place in Place:
        await _at(result, profile, [fault for fault in faults if fault.place is place], folder, say)
    if profile.mutations:
        await mutations.perform(result, folder, say)
    if profile.cases:
        await fuzzing.perform(result, profile.cases, folder, say)
    return result


async def _at(result: Result, profile: Profile, faults: Sequence[Fault], folder: Path, say: Say) -> None:
    """All that needs this kind of site."""
    todo = [(fault, number) for fault in faults for number in missing(result, profile, fault)]
    random.Random(result.seed).shuffle(todo)  # noqa: S311 - a minute in which the machine is slow hits all alike
    for start in range(0, len(todo), PER_SITE):
        async with AsyncExitStack() as stack:
            site: Site | None = None
            for fault, number in todo[start : start + PER_SITE]:
                if site is None:
                    site = await stack.enter_async_context(Site(place=fault.place))
                injection = await inject(site, fault, result.seed * 1_000 + number, profile.load)
                kind = result.kind(fault.name)
                assert kind is not None
                kind.injections.append(injection)
                save(result, folder)
                say(f"{fault.name}: {line(injection)}")
                if injection.recovery is None or injection.broken:
                    await stack.aclose()
                    site = None


def missing(result: Result, profile: Profile, fault: Fault) -> range:
    """The numbers of the injections that the result lacks; what can't run here is noted."""
    kind = result.kind(fault.name)
    if kind is None:
        kind = Kind(name=fault.name, concerns=fault.concerns, promise=fault.promise)
        result.kinds.append(kind)
    lacking = fault.lacking()
    kind.not_run = f"needs {', '.join(lacking)}" if lacking else ""
    wanted = profile.injections_of_long if fault.seconds > LONG_SECONDS else profile.injections
    return range(len(kind.injections), 0 if lacking else wanted)


def line(injection: Injection) -> str:
    """One injection in a few words."""
    back = "service did not come back" if injection.recovery is None else f"back after {injection.recovery:.2f} s"
    found = ", ".join(f"{finding.count} {finding.kind}" for finding in injection.findings) or "nothing wrong"
    thrown = f", {injection.thrown_out} thrown out" if injection.thrown_out else ""
    return (
        f"{injection.messages} messages, {found}{thrown}, {back}{', ' + injection.broken if injection.broken else ''}"
    )
