"""How many users a server carries: the outcome of each step of a search, and the answer that the steps allow.

A step has one of three outcomes. If the load generator was saturated, the latencies are the generator's own and say
nothing about the server. Then the step is not measurable, and the answer is "at least" the users held below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

HELD, FAILED, NOT_MEASURABLE = "held", "failed", "not measurable"
OUTCOMES = (HELD, FAILED, NOT_MEASURABLE)
GENERATOR, SERVER, DATABASE, MACHINE, LATENCY, ERRORS = (
    "the load generator's processor", "the server's processor", "the database's processors", "the machine's processors",
    "latency", "failures or lost messages",
)  # fmt: skip
FULL = 0.9
"""A processor has run out if this share of it is used."""


class CapacityAnswer(NamedTuple):
    """The answer of a capacity search.

    ``held`` is the largest number of users that held the objective (0 if none), ``failed`` the smallest that failed it
    (None if none), ``unmeasured`` the smallest that was not measurable (None if none), and ``limit`` what ran out.
    """

    held: int
    failed: int | None
    unmeasured: int | None
    limit: str

    @property
    def words(self) -> str:
        """``2,000 users``, ``at least 2,000 users``, or why there is no number."""
        if not self.held:
            if self.failed is not None:
                return f"fewer than {self.failed:,} users"
            return "no number: the load generator was saturated at the smallest step"
        if self.failed is not None:
            return f"{self.held:,} users"
        return f"at least {self.held:,} users"

    @property
    def why(self) -> str:
        """A clause that says what is known about more users."""
        if self.failed is not None:
            return f"the objective failed at {self.failed:,}; {self.limit} ran out first"
        if self.unmeasured is not None:
            return f"at {self.unmeasured:,} {self.limit} ran out first, so that the server may carry more"
        return "more were not tried"


def resource(*, server: float, database: float, generators: float, cpus: int) -> str:
    """What ran out if the objective was not held, from the cores used by the one server process and all others."""
    if server >= FULL:
        return SERVER
    if database >= FULL * cpus:
        return DATABASE
    return MACHINE if server + database + generators >= FULL * cpus else LATENCY


def outcome(step: Mapping[str, Any]) -> str:
    """The outcome of a recorded step; older records have two flags instead."""
    known: str | None = step.get("outcome")
    if known is not None:
        return known
    return HELD if step["holds"] else NOT_MEASURABLE if step.get("saturated") else FAILED


def limit(step: Mapping[str, Any]) -> str:
    """What ran out first at a step that was not held; empty if it was held or the record does not say."""
    known: str | None = step.get("limit")
    if known is not None or outcome(step) == HELD:
        return known or ""
    if outcome(step) == NOT_MEASURABLE:
        return GENERATOR
    return ERRORS if step["failures"] or step["deviations"] else LATENCY


def answer(steps: Iterable[Mapping[str, Any]]) -> CapacityAnswer:
    """The answer that the steps of one search allow."""
    seen = [(int(step["users"]), outcome(step), limit(step)) for step in steps]
    held = max((users for users, what, _ in seen if what == HELD), default=0)

    def smallest(kind: str) -> tuple[int | None, str]:
        return min(((users, why) for users, what, why in seen if what == kind and users > held), default=(None, ""))

    (failed, limit_of_failed), (unmeasured, limit_of_unmeasured) = smallest(FAILED), smallest(NOT_MEASURABLE)
    return CapacityAnswer(held, failed, unmeasured, limit_of_unmeasured if failed is None else limit_of_failed)
