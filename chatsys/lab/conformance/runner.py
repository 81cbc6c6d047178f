"""Run checks against a server within time limits: several at a time, the risky ones alone and last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from secrets import token_hex

import aiohttp

from chatsys.errors import OperatorError
from chatsys.lab.conformance.check import CHECKS, Check, CheckResult, Outcome
from chatsys.lab.conformance.probe import CheckProbe, Target
from chatsys.lab.conformance.shapes import CheckFailed, NotApplicable
from chatsys.lab.network.address import place

AT_ONCE = 4
"""Checks that run at the same time."""

RUN_LIMIT = 900.0
"""Seconds that a whole run may take."""

SHOWN = 8
"""Number of sent lines that a failure shows."""

_ALIVE_WITHIN = 10.0
_SHAPES = (KeyError, IndexError, TypeError, AttributeError, ValueError)  # a check read a body of an unexpected shape


@dataclass(kw_only=True)
class ConformanceRun(Target):
    """A server under test and the results of the run."""

    seconds: float = 0.0
    results: list[CheckResult] = field(default_factory=list)

    def count(self, outcome: Outcome) -> int:
        """How many checks had this outcome."""
        return sum(result.outcome is outcome for result in self.results)


Progress = Callable[[int, int, str], None]
"""Called with the number of finished checks, the number of all checks, and the name of the check that finished."""


async def run(url: str, checks: Sequence[Check], transport: str, progress: Progress) -> ConformanceRun:
    """Run the checks. Raises OperatorError if nothing answers HTTP at the address."""
    if not await _alive(url):
        raise OperatorError(f"No server answers HTTP at {place(url)}.", hint="Start it, or give another address.")
    begun = time.monotonic()
    found = ConformanceRun(url=url, transport=transport, prefix=f"conf_{token_hex(3)}")
    found.additions = await _speaks_additions(found)
    found.results = await _Running(found, checks, begun + RUN_LIMIT, progress).all()
    found.seconds = time.monotonic() - begun
    return found


async def _alive(url: str) -> bool:
    """Whether anything answers an HTTP request at ``url``."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ALIVE_WITHIN)) as session,
            session.get(f"{url}/api/health") as answer,
        ):
            await answer.read()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
    return True


async def _speaks_additions(target: Target) -> bool:
    """Whether the server acknowledges a join or numbers its messages (§14.1, §14.2)."""
    async with CheckProbe(target, 0) as probe:
        try:
            room = probe.room()
            member = await probe.member(room)
            if "seq" in await member.says("Are messages numbered?"):
                return True
            await member.client.call("join", {"room": room, "token": member.account.token})
        except (CheckFailed, *_SHAPES):
            return False
    return True


class _Running:
    """The state of one run: the finished checks, and why the others are not run."""

    def __init__(self, target: Target, checks: Sequence[Check], deadline: float, progress: Progress) -> None:
        self._target = target
        self._checks = checks
        self._deadline = deadline
        self._progress = progress
        self._numbers = {name: number for number, name in enumerate(CHECKS, start=1)}
        self._ended: dict[str, CheckResult] = {}
        self._gone = ""

    async def all(self) -> list[CheckResult]:
        """The results in the order of the checks."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def limited(check: Check) -> None:
            async with slots:
                await self._one(check)

        async with asyncio.TaskGroup() as group:
            for check in self._checks:
                if not check.alone:
                    group.create_task(limited(check))
        for check in self._checks:
            if check.alone:
                await self._one(check)
        return [self._ended[check.name] for check in self._checks]

    async def _one(self, check: Check) -> CheckResult:
        """Run a check unless there is a reason not to, and report the progress."""
        if check.name not in self._ended:
            self._ended[check.name] = await self._refusal(check) or await self._judged(check)
            self._progress(sum(each.name in self._ended for each in self._checks), len(self._checks), check.name)
        return self._ended[check.name]

    async def _refusal(self, check: Check) -> CheckResult | None:
        """The result of a check that is not run; a risky one is not, if the harmless check before it did not pass."""
        outcome, why = Outcome.not_applicable, ""
        if self._gone:
            why = f"not run: {self._gone}"
        elif time.monotonic() > self._deadline:
            outcome, why = Outcome.failed, f"not run: the run reached its limit of {RUN_LIMIT:.0f} s"
        elif check.additions and not self._target.additions:
            why = "the server does not speak the additions of §14"
        elif check.after and (await self._one(CHECKS[check.after])).outcome is not Outcome.passed:
            why = f"not sent: the server did not pass {check.after}, so this request might crash it"
        return CheckResult(check=check, outcome=outcome, reason=why) if why else None

    async def _judged(self, check: Check) -> CheckResult:
        begun = time.monotonic()
        async with CheckProbe(self._target, self._numbers[check.name]) as probe:
            outcome, reason = await _outcome(check, probe)
            exchange = _newest(probe.trace) if outcome is Outcome.failed else ()
        seconds = time.monotonic() - begun
        if outcome is Outcome.passed:
            return CheckResult(check=check, outcome=outcome, seconds=seconds)
        if outcome is Outcome.failed and not self._gone and not await _alive(self._target.url):
            self._gone = f"the server at {place(self._target.url)} stopped answering during {check.name}"
            reason = f"{reason}; the server no longer answers"
        return CheckResult(check=check, outcome=outcome, seconds=seconds, reason=reason, exchange=exchange)


def _newest(trace: Sequence[str]) -> tuple[str, ...]:
    """The newest lines of an exchange, in order: at most ``SHOWN`` sent ones and twice as many received ones."""
    sent = [number for number, line in enumerate(trace) if line.startswith("> ")]
    received = [number for number, line in enumerate(trace) if not line.startswith("> ")]
    return tuple(trace[number] for number in sorted(sent[-SHOWN:] + received[-2 * SHOWN :]))


async def _outcome(check: Check, probe: CheckProbe) -> tuple[Outcome, str]:
    try:
        async with asyncio.timeout(check.within):
            await check.body(probe)
    except CheckFailed as failure:
        return Outcome.failed, str(failure)
    except NotApplicable as reason:
        return Outcome.not_applicable, str(reason)
    except TimeoutError:
        return Outcome.failed, f"the check did not end within {check.within:g} s"
    except _SHAPES as error:
        return Outcome.failed, f"an answer has a shape that the protocol forbids: {type(error).__name__}: {error}"
    return Outcome.passed, ""
