"""How many users a server carries: what each step of a search showed, and the answer that the steps allow.

A step has one of three outcomes. Where the load generator was saturated, latencies are the generator's own and say
nothing of the server: the step is not measurable, and the answer is "at least" what was held below it.
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
"""Share of what it can use from which on a processor has run out."""


class CapacityAnswer(NamedTuple):
    """The most users that were held (0 if none were), the fewest that failed (None if none did), and what ran out."""

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
        """A clause that says what is known of more users."""
        if self.failed is not None:
            return f"the objective failed at {self.failed:,}; {self.limit} ran out first"
        if self.unmeasured is not None:
            return f"at {self.unmeasured:,} {self.limit} ran out first, so that the server may carry more"
        return "more were not tried"


def resource(*, server: float, database: float, generators: float, cpus: int) -> str:
    """What ran out where the objective was not held: cores used by the (one) server process, the database, the rest."""
    if server >= FULL:
        return SERVER
    if database >= FULL * cpus:
        return DATABASE
    return MACHINE if server + database + generators >= FULL * cpus else LATENCY


def outcome(step: Mapping[str, Any]) -> str:
    """What a step of a record showed; records of older versions say it in two flags."""
    known: str | None = step.get("outcome")
    if known is not None:
        return known
    return HELD if step["holds"] else NOT_MEASURABLE if step.get("saturated") else FAILED


def limit(step: Mapping[str, Any]) -> str:
    """What ran out first at a step that was not held; empty where it was, or where it is not known."""
    known: str | None = step.get("limit")
    if known is not None or outcome(step) == HELD:
        return known or ""
    if outcome(step) == NOT_MEASURABLE:
        return GENERATOR
    return ERRORS if step["failures"] or step["deviations"] else LATENCY


def answer(steps: Iterable[Mapping[str, Any]]) -> CapacityAnswer:
    """What the steps of one search allow to say."""
    seen = [(int(step["users"]), outcome(step), limit(step)) for step in steps]
    held = max((users for users, what, _ in seen if what == HELD), default=0)
    failed = min(((users, why) for users, what, why in seen if what == FAILED and users > held), default=None)
    unmeasured = min(
        ((users, why) for users, what, why in seen if what == NOT_MEASURABLE and users > held), default=None
    )
    if failed is not None:
        return CapacityAnswer(held, failed[0], unmeasured and unmeasured[0], failed[1])
    if unmeasured is not None:
        return CapacityAnswer(held, None, *unmeasured)
    return CapacityAnswer(held, None, None, "")
