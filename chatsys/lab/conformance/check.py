"""A check and its outcome.

A check is a coroutine that takes a CheckProbe. It returns if the server does what the quoted sentences of
docs/PROTOCOL.md say. Otherwise it raises CheckFailed, or NotApplicable if it cannot judge the server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chatsys.errors import OperatorError
from chatsys.lab.conformance.probe import CheckProbe

LIMIT = 60.0
"""Default time limit of a check in seconds."""

Body = Callable[[CheckProbe], Awaitable[None]]


class Outcome(StrEnum):
    """How a check ended."""

    passed = "passed"
    failed = "failed"
    not_applicable = "not applicable"


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check. ``proves`` quotes sentences of the section; ``within`` is the time limit in seconds.

    ``after`` names a harmless check of the same kind. If that check fails, this one is not run, because a server that
    fails the harmless request may crash on this one. ``alone``: no other check runs at the same time. ``additions``:
    the check needs §14.
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
    """One check's outcome. ``exchange`` lists what a failed check sent and received, one line each."""

    check: Check
    outcome: Outcome
    seconds: float = 0.0
    reason: str = ""
    exchange: tuple[str, ...] = ()


CHECKS: dict[str, Check] = {}
"""All checks by name, in the order in which they were defined."""


def check(section: str, *proves: str, name: str = "", **options: Any) -> Callable[[Body], Body]:
    """Register a check under ``name`` (default: the function's name). Raises ValueError for a name that is in use.

    ``options`` are the other fields of the check. A check with ``after`` runs alone; one of §14 needs the additions.
    """
    options = {"alone": "after" in options, "additions": order(section)[0] == 14} | options

    def register(body: Body) -> Body:
        key = name or getattr(body, "__name__", "")
        if key in CHECKS:
            raise ValueError(f"two checks have the name {key}")
        CHECKS[key] = Check(section=section, name=key, proves=proves, body=body, **options)
        return body

    return register


def order(section: str) -> tuple[int, ...]:
    """The sort key of a section: 9.10 comes after 9.9."""
    return tuple(int(part) for part in section.split("."))


def chosen(checks: Iterable[Check], sections: Sequence[str]) -> list[Check]:
    """The checks of these sections, or all checks if ``sections`` is empty, sorted by section.

    ``9`` selects section 9 and its subsections. Raises OperatorError for a section without a check.
    """
    by_section = sorted(checks, key=lambda each: order(each.section))
    wanted = [section.removeprefix("§").rstrip(".") for section in sections]
    for section in wanted:
        if not any(_lies_in(each.section, section) for each in by_section):
            raise OperatorError(f"No check belongs to section {section!r}.", hint="Sections are 1 to 14, or 9.3.")
    return [each for each in by_section if not wanted or any(_lies_in(each.section, section) for section in wanted)]


def _lies_in(section: str, wanted: str) -> bool:
    return section == wanted or section.startswith(f"{wanted}.")
