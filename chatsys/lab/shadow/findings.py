"""What was compared, what differed, and how long both servers took."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from itertools import islice
from statistics import median
from typing import Any

from rich.console import Console, Group
from rich.table import Table

from chatsys.lab.conformance.shapes import short
from chatsys.lab.shadow.twins import Difference

SAMPLES = 10_000
"""Maximum number of times kept for each kind of call."""
SHOWN = 40
"""Maximum number of kinds of differences shown."""


class Findings:
    """Counts for each kind of comparison: ``GET /api/users/:id``, ``event receive-message``, ``answer to join``."""

    def __init__(self) -> None:
        self.compared: Counter[str] = Counter()
        self.different: Counter[str] = Counter()
        self.missed = 0
        """Calls that were not sent to the shadow, because it was too far behind."""
        self._kinds: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], Difference] = {}
        self._times: defaultdict[str, tuple[deque[float], deque[float]]] = defaultdict(
            lambda: (deque(maxlen=SAMPLES), deque(maxlen=SAMPLES))
        )

    def judged(self, what: str, found: Iterable[Difference]) -> None:
        """Count one comparison and the differences that it found."""
        some = list(islice(found, SHOWN))
        self.compared[what] += 1
        self.different[what] += bool(some)
        for each in some:
            self._kinds[what, each.path] += 1
            self._examples.setdefault((what, each.path), each)

    def took(self, what: str, original: float, shadow: float) -> None:
        """Record how long a call took on each server, in seconds."""
        for times, seconds in zip(self._times[what], (original, shadow), strict=True):
            times.append(seconds)

    @property
    def same(self) -> bool:
        """Whether everything was compared and nothing differed."""
        return not self.different.total() and not self.missed

    def table(self) -> Table:
        """One row for each kind of comparison; times are medians in milliseconds."""
        table = Table("", title="What both servers answered")
        for head in ("compared", "different", "original", "shadow"):
            table.add_column(head, justify="right")
        for what, count in sorted(self.compared.items()):
            times = [f"{median(each) * 1000:.1f} ms" if each else "" for each in self._times[what]]
            table.add_row(what, f"{count:,}", f"{self.different[what]:,}", *times)
        return table

    def lines(self) -> list[str]:
        """The kinds of differences, the most frequent first, each with an example."""
        found = [
            f"{what}, {path}: {'once' if count == 1 else f'{count:,} times'}; {_shown(self._examples[what, path])}"
            for (what, path), count in self._kinds.most_common(SHOWN)
        ]
        if len(self._kinds) > SHOWN:
            found.append(f"{len(self._kinds) - SHOWN} more kinds of differences")
        if self.missed:
            found.append(f"{self.missed:,} calls were not sent to the shadow: it was too far behind")
        return found

    def answer(self) -> str:
        """The result in one sentence."""
        if not self.compared:
            return "Nothing was compared: no client connected."
        if self.same:
            return f"No difference in {self.compared.total():,} comparisons."
        return f"{self.different.total():,} of {self.compared.total():,} comparisons differ."

    def show(self) -> None:
        """Print the result to standard output."""
        console = Console(markup=False, highlight=False)
        console.print(Group(self.table(), *(f"- {line}" for line in self.lines()), self.answer()))


def _shown(difference: Difference) -> str:
    sides: tuple[tuple[str, Any], ...] = (("the original has", difference.original), ("the shadow", difference.shadow))
    return ", ".join(f"{name} {short(value, 60)}" for name, value in sides)
