"""How often the comparison is wrong: ``python -m chatsys.lab.against.study FOLDER --same 10 --planted 4``.

Each run compares HEAD with the working tree, which must be clean. Either the two are equal, or a slowdown is planted in
one of three places on the side of the working tree (see ``planted/sitecustomize.py``). Each outcome is appended to
``FOLDER/study.jsonl``, so a study can be interrupted, resumed and extended. ``--same`` and ``--planted`` are the
numbers of runs that the file should hold in the end.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from scipy import stats

from chatsys.errors import ChatsysError, OperatorError
from chatsys.interrupts import turn_into_interrupts
from chatsys.lab.against import planted
from chatsys.lab.against.comparison import ComparisonRequest, compare
from chatsys.lab.against.plan import PLANS
from chatsys.lab.against.record import CommitComparison
from chatsys.lab.against.table import answer
from chatsys.reports.page import Table
from chatsys.results.files import write_atomically
from chatsys.settings import read_settings

FILE = "study.jsonl"
SAME = "nothing"
FACTOR = 1.3
WANTED = {
    "store read": ("memory: 100 messages", "PostgreSQL: 100 messages"),
    "store write": ("memory: send", "PostgreSQL: send"),
    "fan-out": ("Socket.IO: fan-out",),
}
"""For each place the operations that it slows. A slowdown counts as found only if all of them are reported."""
BLOCK = ("<!-- study: begin -->", "<!-- study: end -->")


class StudyOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the study: where a slowdown was planted, and which operations were reported as slower or faster."""

    planted: str
    factor: float
    created_at: str
    commit: str
    method: int
    profile: str
    valid: bool
    reasons: list[str]
    rounds: int
    seconds: float
    slower: list[str]
    faster: list[str]
    largest_finds: float
    """The smallest ratio that the run would have detected, for the operation where it is largest."""
    foreign: float
    """The share of the processors that other programs used, in the round with the largest share."""

    def found(self) -> bool:
        """Whether the run reported every operation that the planted slowdown slows."""
        return set(WANTED.get(self.planted, ())) <= set(self.slower)


def read(folder: Path) -> list[StudyOutcome]:
    """The runs so far."""
    file = folder / FILE
    if not file.exists():
        return []
    return [msgspec.json.decode(line, type=StudyOutcome) for line in file.read_bytes().splitlines() if line]


def table(outcomes: Sequence[StudyOutcome]) -> Table:
    """The counts, with exact 95 % intervals (Clopper and Pearson)."""
    rows = []
    for place in (SAME, *WANTED):
        valid = [each for each in outcomes if each.planted == place and each.valid]
        hits = sum(bool(each.slower or each.faster) if place == SAME else each.found() for each in valid)
        invalid = sum(each.planted == place and not each.valid for each in outcomes)
        promise = "reported a difference" if place == SAME else "found"
        rows.append((place, str(len(valid)), f"{promise}: {hits}", _interval(hits, len(valid)), str(invalid)))
    return Table(header=("Planted", "Runs", "Of these", "95 % interval", "Invalid"), rows=rows, align="lrlrr")


def _interval(hits: int, runs: int) -> str:
    if not runs:
        return ""
    bounds = stats.binomtest(hits, runs).proportion_ci(0.95, method="exact")
    return f"{bounds.low:.0%} to {bounds.high:.0%}"


def next_place(outcomes: Sequence[StudyOutcome], same: int, each: int) -> str | None:
    """The place of the next run: the one with the largest share of its runs missing; None if all runs are done."""
    wanted = {SAME: same, **dict.fromkeys(WANTED, each)}
    done = {place: sum(one.planted == place and one.valid for one in outcomes) for place in wanted}
    lacking = {place: done[place] / wanted[place] for place in wanted if done[place] < wanted[place]}
    return min(lacking, key=lambda place: lacking[place]) if lacking else None


def outcome(place: str, result: CommitComparison) -> StudyOutcome:
    """The outcome of a run with a slowdown planted in ``place``."""
    return StudyOutcome(
        planted=place,
        factor=1.0 if place == SAME else FACTOR,
        created_at=result.created_at,
        commit=result.after.commit,
        method=result.parameters["method"],
        profile=result.profile,
        valid=result.valid,
        reasons=result.reasons,
        rounds=max((len(row.rounds) for row in result.rows), default=0),
        seconds=result.seconds,
        slower=sorted({row.operation for row in result.rows if row.verdict == "slower"}),
        faster=sorted({row.operation for row in result.rows if row.verdict == "faster"}),
        largest_finds=max((row.finds for row in result.finest()), default=0.0),
        foreign=max(result.foreign, default=0.0),
    )


def run_one(folder: Path, place: str) -> StudyOutcome:
    """Make a run and append its outcome. Raises OperatorError if the working tree has uncommitted changes."""
    settings = read_settings({})
    slowed = place != SAME
    request = ComparisonRequest(
        revision="HEAD",
        plan=PLANS["quick"],
        database_url=settings.database_url,
        data_dir=settings.data_dir,
        planted=Path(planted.__file__).parent if slowed else None,
        variables={"PLANTED_SLOWDOWN": f"{place}:{FACTOR}"} if slowed else {},
    )
    result = compare(request, lambda _: None)
    if result.after.dirty:
        raise OperatorError("The working tree has uncommitted changes, so the sides differ.", hint="Commit them.")
    done = outcome(place, result)
    print(f"{place}: {answer(result)}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FILE, b"".join(msgspec.json.encode(each) + b"\n" for each in [*read(folder), done]))
    return done


def publish(page: Path, outcomes: Sequence[StudyOutcome]) -> None:
    """Write the counts between the lines BLOCK of a page. Raises OperatorError if the page lacks them."""
    text = page.read_text()
    if not all(line in text for line in BLOCK):
        raise OperatorError(f"{page} has no block for the study.", hint=f"Add the lines {BLOCK[0]} and {BLOCK[1]}.")
    head, rest = text.split(BLOCK[0])
    tail = rest.split(BLOCK[1])[1]
    write_atomically(page, f"{head}{BLOCK[0]}\n{table(outcomes).markdown()}\n{BLOCK[1]}{tail}".encode())


def main() -> None:
    """Make the missing runs and print the counts."""
    options = argparse.ArgumentParser(description="How often the comparison of two commits is wrong.")
    options.add_argument("folder", type=Path)
    options.add_argument("--same", type=int, default=10, help="total runs with nothing planted (default 10)")
    options.add_argument("--planted", type=int, default=4, help="total runs for each planted place (default 4)")
    options.add_argument("--runs", type=int, default=10_000, help="make at most RUNS runs now (default: no limit)")
    options.add_argument("--page", type=Path, help="also write the counts into this page")
    chosen = options.parse_args()
    turn_into_interrupts()
    try:
        for _ in range(chosen.runs):
            place = next_place(read(chosen.folder), chosen.same, chosen.planted)
            if place is None:
                break
            run_one(chosen.folder, place)
        print(table(read(chosen.folder)).markdown())
        if chosen.page is not None:
            publish(chosen.page, read(chosen.folder))
    except KeyboardInterrupt:
        print("Interrupted. Run the same command again to continue.", file=sys.stderr)
        sys.exit(130)
    except ChatsysError as error:
        sys.exit(f"Error: {error.message} {getattr(error, 'hint', '')}".rstrip())


if __name__ == "__main__":
    main()
