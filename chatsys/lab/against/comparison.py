"""A comparison of two commits, from its start to its record."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import numpy as np

from chatsys.chat.bundle import new_id
from chatsys.database.embedded import embedded_server
from chatsys.errors import ChatsysError
from chatsys.lab.against import instructions
from chatsys.lab.against.checkout import checked_out, project
from chatsys.lab.against.measures import COUNTED, INSTRUCTIONS, UNITS
from chatsys.lab.against.plan import ComparisonPlan, Work, works
from chatsys.lab.against.record import Commit, CommitComparison, ComparisonRow
from chatsys.lab.against.rounds import Observed, perform
from chatsys.lab.against.sides import Side
from chatsys.lab.against.subject import Open
from chatsys.lab.against.verdicts import BLUNT, LEAST, RUN_ERROR, Judged, Verdict, finds, judge
from chatsys.lab.datasets.databases import alone_on, tidy
from chatsys.lab.provenance import machine
from chatsys.lab.runner.run import timestamp, without_password
from chatsys.lab.subjects.servers import Program
from chatsys.results.run import Interval

Tell = Callable[[str], None]
Samples = tuple[list[float], list[float]]
METHOD = 6
"""Raise it when a measure or the way of judging changes: a study's counts are valid for one method."""
_LIMITATIONS = (
    "Client, server and database share one machine, and everything fits in memory.",
    "CPU is the processor time of the process under test and of its database connections. It does not include waiting;"
    " time does.",
    "Instructions count the work of chatsys; statements, pages, WAL bytes and CPU show the work of PostgreSQL.",
    "Calls on the stores do not pass through the server.",
)


class ComparisonRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to compare: ``revision`` and the working tree.

    The study slows the working tree down: it puts ``planted`` before its PYTHONPATH and ``variables`` into its
    environment.
    """

    revision: str
    plan: ComparisonPlan
    database_url: str | None
    data_dir: Path
    seed: int = 1
    planted: Path | None = None
    variables: dict[str, str] = {}


def compare(request: ComparisonRequest, tell: Tell) -> CommitComparison:
    """Compare a revision with the working tree. Raises OperatorError if the revision can't be run."""
    began = time.monotonic()
    root = project()
    environment = machine.describe(None, "")
    result = CommitComparison(
        id=new_id(),
        created_at=timestamp(),
        before=Commit(revision=request.revision, commit="", dirty=False),
        after=Commit(revision="working tree", commit=environment["commit"] or "", dirty=environment["dirty"]),
        profile=request.plan.name,
        seed=request.seed,
        environment=environment,
        parameters={
            **msgspec.to_builtins(request.plan),
            "method": METHOD,
            "run_error": RUN_ERROR,
            "least": LEAST,
            "blunt": BLUNT,
        },
        limitations=list(_LIMITATIONS),
    )
    with ExitStack() as stack:
        tell(f"checking {request.revision} out")
        folder = request.data_dir.absolute() / "against"
        earlier = stack.enter_context(checked_out(request.revision, root, folder))
        url = stack.enter_context(_server(request))
        result.environment = machine.describe(url, without_password(url))
        stack.callback(tidy, url)
        compiled = {"PYTHONDONTWRITEBYTECODE": ""}  # each side compiles its modules once, not in each process
        before = Program(str(earlier.python), str(earlier.tree), compiled)
        path = os.pathsep.join(map(str, filter(None, (request.planted, root))))
        after = Program(sys.executable, path, compiled | request.variables)
        sides = (
            Side(name="before", label=f"{request.revision} ({earlier.commit[:9]})", program=before, server_url=url),
            Side(name="after", label="The working tree", program=after, server_url=url),
        )
        result.before = Commit(revision=request.revision, commit=earlier.commit, dirty=False)
        _set_up(sides, request, tell)
        result.before = msgspec.structs.replace(result.before, unmeasured=sides[0].unmeasured)
        result.after = msgspec.structs.replace(result.after, unmeasured=sides[1].unmeasured)
        try:
            unmeasured = any(side.unmeasured for side in sides)  # it has no `chatsys bench subject`
            todo = [work for work in works(request.plan) if not (unmeasured and work.store)]
            counted = _instructions(sides, request, todo, result, tell)
            observed = _rounds(sides, request, todo, result, tell)
            result.rows = rows_of(observed, counted)
            _check_sharpness(result)
        except ChatsysError as error:
            result.invalid(error.message)
    result.finished_at = timestamp()
    result.seconds = round(time.monotonic() - began, 1)
    return result


def _check_sharpness(result: CommitComparison) -> None:
    """Mark a comparison as invalid if it is too blunt to say that nothing is slower, and name possible causes.

    The two sides alternate, so other load on the machine slows both. It makes the rounds scatter: the comparison
    becomes less sensitive, not wrong. A slowdown that it did find is real.
    """
    blunt = [row.operation for row in result.finest() if row.finds > BLUNT]
    if not blunt or result.slower():
        return
    busy = f"other programs used {max(result.foreign):.0%} of the processors in a round"
    stolen = f"the hypervisor took {max(result.steal):.0%} of them away"
    result.invalid(f"a slowdown of {BLUNT}× could have been missed in {', '.join(blunt)} ({busy}, {stolen})")


def rows_of(observed: Sequence[Observed], counted: Mapping[str, Samples] | None = None) -> list[ComparisonRow]:
    """The verdicts, from the figures of all rounds and the instructions. A measure that a round lacks is left out."""
    keys = _complete(observed)
    tested = [key for key in keys if key[1] not in COUNTED]
    judged = dict(zip(tested, judge([_logarithms(observed, key) for key in tested]), strict=True)) if tested else {}
    rows = [_row(key, [each[key] for each in observed], judged.get(key)) for key in keys]
    for name, (before, after) in (counted or {}).items():
        rows.append(_row((name, INSTRUCTIONS), list(zip(before, after, strict=True)), None))
    return rows


def _row(key: tuple[str, str], pairs: Sequence[tuple[float, float]], judged: Judged | None) -> ComparisonRow:
    operation, measure = key
    before, after = (float(np.median([pair[index] for pair in pairs])) for index in (0, 1))
    ratios = tuple(pair[1] / pair[0] for pair in pairs)
    found = msgspec.structs.asdict(judged or _counted(ratios))
    found |= {"before": before, "after": after, "counted": judged is None, "rounds": ratios}
    return ComparisonRow(operation=operation, measure=measure, unit=UNITS[measure], **found)


def _counted(ratios: Sequence[float]) -> Judged:
    """The verdict on counts: they differ if every pair of the two sides differs in one direction by LEAST."""
    ratio = float(np.median(ratios))
    verdict: Verdict = "no difference found"
    if min(ratios) >= LEAST:
        verdict = "slower"
    elif max(ratios) <= 1 / LEAST:
        verdict = "faster"
    return Judged(
        ratio=ratio,
        interval=Interval(min(ratios), max(ratios)),
        p=1.0 if verdict == "no difference found" else 0.0,
        finds=LEAST * max(ratio / min(ratios), max(ratios) / ratio),
        verdict=verdict,
    )


def _instructions(
    sides: Sequence[Side], request: ComparisonRequest, todo: Sequence[Work], result: CommitComparison, tell: Tell
) -> dict[str, Samples]:
    """The instructions of each operation. If they can't be counted, the record says why and the result is empty."""
    why = instructions.why_none_are_counted()
    if not why:
        tell("counting instructions")
        try:
            return instructions.count(sides, request.plan, todo, _order(request, fill=False))
        except ChatsysError as error:
            why = f"Instructions could not be counted: {error.message}"
    result.uncounted = why
    return {}


def _rounds(
    sides: Sequence[Side], request: ComparisonRequest, todo: Sequence[Work], result: CommitComparison, tell: Tell
) -> list[Observed]:
    """Perform rounds until there are enough. How the rounds scatter decides the number, never what they show."""
    plan = request.plan
    watch = machine.MachineWatch(machine.postmaster_of(sides[0].server_url))
    observed: list[Observed] = []
    began = time.monotonic()
    while len(observed) < plan.rounds or (
        len(observed) < plan.most and time.monotonic() - began < plan.seconds and _coarse(observed, plan.wanted)
    ):
        tell(f"round {len(observed) + 1} of {plan.rounds}")
        done = perform(sides, plan, todo, watch, number=len(observed), seed=request.seed)
        observed.append(done.observed)
        result.foreign.append(round(done.foreign, 3))
        result.steal.append(round(done.steal, 3))
    return observed


def _coarse(observed: Sequence[Observed], wanted: float) -> bool:
    """Whether some operation has no measure yet that would detect a difference of ``wanted``."""
    tested = [key for key in _complete(observed) if key[1] not in COUNTED]
    best: dict[str, float] = {}
    for key, found in zip(tested, finds([_logarithms(observed, key) for key in tested]), strict=True):
        best[key[0]] = min(found, best.get(key[0], found))
    return any(found > wanted for found in best.values())


def _complete(observed: Sequence[Observed]) -> list[tuple[str, str]]:
    """The measures that every round has, with values above 0."""
    return [key for key in observed[0] if all(key in each and min(each[key]) > 0 for each in observed)]


def _logarithms(observed: Sequence[Observed], key: tuple[str, str]) -> list[float]:
    return [float(np.log(each[key][1] / each[key][0])) for each in observed]


def _set_up(sides: Sequence[Side], request: ComparisonRequest, tell: Tell) -> None:
    """Fill a database for each side. If the schemas are equal, both sides use the first one.

    Two fillings differ in how full pages are and in where rows lie, which would look like a difference of the sides.
    """
    tell("filling both databases")
    order = _order(request, fill=True)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(side.set_up, order) for side in sides]:
            done.result()
    if sides[0].schema() == sides[1].schema():
        sides[1].template = sides[0].template


def _order(request: ComparisonRequest, *, fill: bool) -> Open:
    plan = request.plan
    return Open(url="", users=plan.users, messages=plan.messages, seed=request.seed, fill=fill)


@contextmanager
def _server(request: ComparisonRequest) -> Iterator[str]:
    """A PostgreSQL server for this run alone: the configured one, or the private one, pinned to a processor."""
    if request.database_url and request.database_url.startswith(("postgresql://", "postgres://")):
        with alone_on(request.database_url):
            yield request.database_url
        return
    with (
        embedded_server(request.data_dir / "postgres") as url,
        alone_on(url),
        machine.kept_to(machine.postmaster_of(url), machine.processors()[1]),
    ):
        yield url
