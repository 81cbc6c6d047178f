"""A check and its outcome.

A check is a coroutine that gets a CheckProbe, returns if the server does what the quoted sentences of docs/PROTOCOL.md
say, and raises CheckFailed or NotApplicable if not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from chatsys.errors import OperatorError
from chatsys.lab.conformance.probe import CheckProbe

LIMIT = 60.0
"""Seconds that a check may take, unless it says otherwise."""

Body = Callable[[CheckProbe], Awaitable[None]]


class Outcome(StrEnum):
    """How a check ended."""

    passed = "passed"
    failed = "failed"
    not_applicable = "not applicable"


@dataclass(frozen=True, kw_only=True)
class Check:
    """``proves`` quotes sentences of the section. ``within`` is its limit in seconds.

    ``after`` names a harmless check of the same kind: if that one fails, this one is not sent, because a server that
    fails the first may end at the second. ``alone``: nothing else runs meanwhile. ``additions``: it needs §14.
    """

    section: str
    name: str
    proves: tuple[str, ...]
    body: Body
    within: float = LIMIT
    after: str | None = None
    alone: bool = False
    additions: bool = False


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One check's outcome. ``exchange`` has what was sent and what came back, one line each; only for a failure."""

    check: Check
    outcome: Outcome
    seconds: float = 0.0
    reason: str = ""
    exchange: tuple[str, ...] = ()


CHECKS: dict[str, Check] = {}
"""All checks by name, in the order in which they were defined."""


def check(
    section: str,
    *proves: str,
    within: float = LIMIT,
    after: str | None = None,
    alone: bool = False,
    additions: bool = False,
    name: str = "",
) -> Callable[[Body], Body]:
    """Register a check under the function's name, or ``name`` for one of a table."""

    def register(body: Body) -> Body:
        known = name or getattr(body, "__name__", "")
        if known in CHECKS:
            raise ValueError(f"there are two checks {known}")
        CHECKS[known] = Check(
            section=section,
            name=known,
            proves=proves,
            body=body,
            within=within,
            after=after,
            alone=alone or after is not None,
            additions=additions,
        )
        return body

    return register


def order(section: str) -> tuple[int, ...]:
    """What sections are sorted by: 9.10 comes after 9.9."""
    return tuple(int(part) for part in section.split("."))


def chosen(checks: Iterable[Check], sections: Sequence[str]) -> list[Check]:
    """The checks of these sections, all of them without any, by section.

    ``9`` means all sections whose number begins with 9. Raises OperatorError for a section without a check.
    """
    by_section = sorted(checks, key=lambda each: order(each.section))
    wanted = [section.removeprefix("§").rstrip(".") for section in sections]
    for section in wanted:
        if not any(_lies_in(each.section, section) for each in by_section):
            raise OperatorError(f"No check belongs to section {section!r}.", hint="Sections are 1 to 14, or 9.3.")
    if not wanted:
        return by_section
    return [each for each in by_section if any(_lies_in(each.section, section) for section in wanted)]


def _lies_in(section: str, wanted: str) -> bool:
    return section == wanted or section.startswith(f"{wanted}.")
